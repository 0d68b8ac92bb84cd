"""What each cell of a study reached and what it cost, from the artifacts and the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from classification.workspace import read_metrics
from evaluate.retrain import summarise_accuracy
from pipeline.graph import build_graph
from pipeline.reports.results import SELECTION, hours_of, read_json
from pipeline.stages import STAGES
from pipeline.stages.probe import SUMMARY as PROBE
from pipeline.stages.retrain import SUMMARY as NETWORK
from pipeline.store.ledger import Attempt, Cost
from pipeline.store.store import Artifact, Store
from pipeline.studies.study import Cell, Study, value_at
from pipeline.studies.tasks import Tasks

MEASURED_IN = {"network": "retrain", "subset": "probe", "classifier": "scorer"}
"""The stage whose classifier is the end of a cell, by goal."""


@dataclass(frozen=True)
class CellResult:
    """A cell, its artifacts so far, what they cost and on which devices; `error` says why it is
    not whole."""

    cell: Cell
    artifacts: Mapping[str, Artifact]
    costs: Mapping[str, Cost]
    accuracy: Mapping[str, Any] | None
    network: Mapping[str, Any] | None
    error: str | None
    devices: frozenset[str] = frozenset()
    agreement: dict[str, float | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The setting of which this cell is one seed."""
        return self.cell.series, self.cell.label

    @property
    def top1_error(self) -> float | None:
        """Percent, of the last epoch."""
        return None if self.accuracy is None else float(self.accuracy["top1_error_last"])

    @property
    def selection(self) -> Cost:
        """What the subset cost before anything was searched or trained on it."""
        return _sum(self.costs, SELECTION)

    @property
    def search_alone(self) -> Cost:
        """What the paper counts."""
        return _sum(self.costs, ("search",))

    @property
    def total(self) -> Cost:
        """Scorer, scores, subset and search."""
        return self.selection + self.search_alone


def collect_cells(study: Study, tasks: Tasks, store: Store) -> list[CellResult]:
    """All cells, whole or not, in the study's order."""
    attempts: dict[str, list[Attempt]] = {}
    for attempt in store.ledger.attempts():
        attempts.setdefault(attempt.fingerprint, []).append(attempt)
    found: dict[tuple[str, str], Artifact | None] = {}
    results = []
    for index, cell in enumerate(study.cells):
        keys = tasks.of_cell[index]
        for key in keys:
            if key not in found and tasks.states[key] in ("reused", "done"):
                found[key] = store.find(*key)
        artifacts = {key[0]: a for key in keys if (a := found.get(key)) is not None}
        goal = set(build_graph(STAGES, cell.config.without_extras))  # extras are in no sum
        costs = {name: Cost.of(attempts.get(key, [])) for name, key in keys if name in goal}
        accuracy, network = _end(cell, artifacts)
        error = tasks.error_of(index)
        spent = [attempt for _, fingerprint in keys for attempt in attempts.get(fingerprint, [])]
        devices = frozenset(attempt.device for attempt in spent)
        results.append(CellResult(cell, artifacts, costs, accuracy, network, error, devices))
    return results


def study_cost(tasks: Tasks, store: Store) -> Cost:
    """All attempts at all that the cells need, each counted once, failed ones too."""
    return Cost.of(store.ledger.attempts({fingerprint for _, fingerprint in tasks.tasks}))


def as_json(result: CellResult) -> dict[str, Any]:
    """A cell as results.json holds it."""
    return {
        "series": result.cell.series,
        "label": result.cell.label,
        "seed": result.cell.seed,
        "x": result.cell.x,
        "config": result.cell.config.name,
        "error": result.error,
        "accuracy": result.accuracy,
        "network": result.network,
        "stages": {name: artifact.fingerprint for name, artifact in result.artifacts.items()},
        "cost": {
            "unit": sum(result.costs.values(), Cost()).unit,
            "stages": {name: hours_of(cost) for name, cost in result.costs.items()},
            "selection": hours_of(result.selection),
            "search_alone": hours_of(result.search_alone),
            "total": hours_of(result.total),
        },
        "agreement": result.agreement,
    }


def by_setting(results: Iterable[CellResult]) -> dict[tuple[str, str], list[CellResult]]:
    """The seeds of each setting, settings in the study's order."""
    settings: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        settings.setdefault(result.key, []).append(result)
    return settings


def counterpart(
    result: CellResult, reference: str | None, results: Sequence[CellResult]
) -> CellResult | None:
    """The reference's cell of the same seed whose point's settings this cell shares; where the
    reference has one point alone, that one."""
    candidates = [
        other
        for other in results
        if other.cell.series == reference and other.cell.seed == result.cell.seed
    ]
    config = result.cell.config
    for other in candidates:
        point = other.cell.point
        if all(value_at(config, key) == value_at(other.cell.config, key) for key in point):
            return other
    return candidates[0] if len(candidates) == 1 else None


def _end(
    cell: Cell, artifacts: Mapping[str, Artifact]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The accuracy that the cell was after, and its network if it found one."""
    stage = MEASURED_IN[cell.config.goal]
    if stage not in artifacts:
        return None, None
    path = artifacts[stage].path
    if stage == "scorer":
        return summarise_accuracy(read_metrics(path)), None
    summary = read_json(path / (PROBE if stage == "probe" else NETWORK))
    return summary["accuracy"], summary if stage == "retrain" else None


def _sum(costs: Mapping[str, Cost], names: Iterable[str]) -> Cost:
    return sum((costs[name] for name in names if name in costs), Cost())
