"""Error and cost of each trial of a study, from the artifacts and the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from evaluate.retrain import summarise_accuracy
from pipeline.graph import build_graph
from pipeline.reports.results import cost_before_search, hours_of, search_cost, selection_cost
from pipeline.stages import STAGES
from pipeline.stages.probe import SUMMARY as PROBE
from pipeline.stages.retrain import SUMMARY as NETWORK
from pipeline.stages.width import CONTEST
from pipeline.store.ledger import Attempt, Cost
from pipeline.store.store import Artifact, Store
from pipeline.studies.study import Study, Trial, value_at
from pipeline.studies.tasks import Tasks

MEASURED_IN = {"network": "retrain", "subset": "probe", "classifier": "scorer"}
"""The stage that gives a trial's error, by goal."""


@dataclass(frozen=True)
class TrialResult:
    """A trial, its artifacts so far, their costs and devices; `error` is that of a failed stage."""

    trial: Trial
    artifacts: Mapping[str, Artifact]
    costs: Mapping[str, Cost]
    accuracy: Mapping[str, Any] | None
    network: Mapping[str, Any] | None
    error: str | None
    devices: frozenset[str] = frozenset()
    agreement: dict[str, float | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The setting: trials with the same key differ in their seed."""
        return self.trial.series, self.trial.label

    @property
    def top1_error(self) -> float | None:
        """Percent, in the last epoch."""
        return None if self.accuracy is None else float(self.accuracy["top1_error_last"])

    @property
    def selection(self) -> Cost:
        """Cost of making the subset."""
        return selection_cost(self.costs)

    @property
    def before_search(self) -> Cost:
        """The part of the subset's cost that a search on all images does not have."""
        return cost_before_search(self.trial.config, self.costs)

    @property
    def search_alone(self) -> Cost:
        """Cost of the search and its restarts; the paper reports that of one search."""
        return search_cost(self.trial.config, self.costs)

    @property
    def contest(self) -> Cost:
        """Cost of training the contestants, which is not part of the total."""
        return self.costs.get("contest", Cost())

    @property
    def total(self) -> Cost:
        """Cost of the subset and the search; of the subset and one probe, the mean of all, if the
        goal is a subset; of the scorer, if it is a classifier."""
        if self.trial.config.goal != "network":
            return self.selection + self.costs.get("probe", Cost()) / self.trial.config.probes
        return self.before_search + self.search_alone


def collect_trials(study: Study, tasks: Tasks, store: Store) -> list[TrialResult]:
    """Return all trials, complete or not, in the study's order."""
    attempts: dict[str, list[Attempt]] = {}
    for attempt in store.ledger.attempts():
        attempts.setdefault(attempt.fingerprint, []).append(attempt)
    found: dict[tuple[str, str], Artifact | None] = {}
    results = []
    for index, trial in enumerate(study.trials):
        keys = tasks.of_trial[index]
        for key in keys:
            if key not in found and tasks.states[key] in ("reused", "done"):
                found[key] = store.find(*key)
        artifacts = {key[0]: a for key in keys if (a := found.get(key)) is not None}
        goal = set(build_graph(STAGES, trial.config.goal_alone))  # the stages whose cost counts
        costs = {name: Cost.of(attempts.get(key, [])) for name, key in keys if name in goal}
        accuracy, network = _end(study.until or MEASURED_IN[trial.config.goal], artifacts)
        error = tasks.error_of(index)
        spent = [attempt for _, fingerprint in keys for attempt in attempts.get(fingerprint, [])]
        devices = frozenset(attempt.device for attempt in spent)
        results.append(TrialResult(trial, artifacts, costs, accuracy, network, error, devices))
    return results


def study_cost(tasks: Tasks, store: Store) -> Cost:
    """Return the cost of all attempts at the study's stages, failed ones included, each once."""
    return Cost.of(store.ledger.attempts({fingerprint for _, fingerprint in tasks.tasks}))


def as_json(result: TrialResult) -> dict[str, Any]:
    """Return a trial as written to results.json."""
    return {
        "series": result.trial.series,
        "label": result.trial.label,
        "seed": result.trial.seed,
        "x": result.trial.x,
        "config": result.trial.config.name,
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
            "contest": hours_of(result.contest),
        },
        "agreement": result.agreement,
    }


def by_setting(results: Iterable[TrialResult]) -> dict[tuple[str, str], list[TrialResult]]:
    """Group the trials by setting, in the study's order."""
    settings: dict[tuple[str, str], list[TrialResult]] = {}
    for result in results:
        settings.setdefault(result.key, []).append(result)
    return settings


def counterpart(
    result: TrialResult, reference: str | None, results: Sequence[TrialResult]
) -> TrialResult | None:
    """Return the reference's trial of the same seed whose point's settings this trial shares or,
    if the reference has a single point, its trial of the same seed."""
    candidates = [
        other
        for other in results
        if other.trial.series == reference and other.trial.seed == result.trial.seed
    ]
    config = result.trial.config
    for other in candidates:
        point = other.trial.point
        if all(value_at(config, key) == value_at(other.trial.config, key) for key in point):
            return other
    return candidates[0] if len(candidates) == 1 else None


def _end(
    stage: str, artifacts: Mapping[str, Artifact]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return a trial's final accuracy by its last stage, and the summary of its network if one was
    retrained."""
    if stage not in artifacts:
        return None, None
    path = artifacts[stage].path
    if stage == "scorer":
        return summarise_accuracy(read_metrics(path)), None
    if stage == "contest":
        return _of_found(read_object(path / CONTEST)["contestants"]), None
    summary = read_object(path / (PROBE if stage == "probe" else NETWORK))
    return summary["accuracy"], summary if stage == "retrain" else None


def _of_found(contestants: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the mean held-out error of the networks found, in percent, after the first round, in
    which all contestants train equally; None if none is within the budget."""
    errors = [
        100 * (1 - float(each["held_out_accuracies"][0]))
        for each in contestants
        if each["kind"] == "found"
    ]
    return {"top1_error_last": mean(errors), "held_out_errors": errors} if errors else None
