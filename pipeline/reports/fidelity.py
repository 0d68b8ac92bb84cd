"""Report of `fidelity`: the rank correlation of architectures between a subset and all images.

It compares three rankings of the same architectures in one store: on the config's subset, on a
random subset of the same fraction, and on all images, which is shared by every subset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from classification.errors import ConfigError
from classification.persistence.storage import writable
from classification.persistence.untrusted_files import read_objects
from evaluate.fidelity import RankCorrelation, rank_correlation
from evaluate.figures.style import save_figure
from evaluate.figures.subset import fidelity_scatter
from pipeline.config import PipelineConfig
from pipeline.reports.page import show_cost, write_page
from pipeline.reports.results import SERIES, describe_subset, hours_of, selection_cost
from pipeline.stages.ranking import RANKING
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

_FULL, _RANDOM = "full", "random"
_FIGURE = "ranking.png"


@dataclass(frozen=True)
class Ranking:
    """The architectures trained on one subset, one row per architecture, in their drawing order."""

    config: PipelineConfig
    rows: list[dict[str, Any]]
    subset: dict[str, Any]
    costs: dict[str, Cost]
    devices: frozenset[str]

    @property
    def errors(self) -> list[float]:
        """Top-1 error of each architecture, percent."""
        return [float(row["top1_error"]) for row in self.rows]

    @classmethod
    def of(cls, config: PipelineConfig, made: Mapping[str, Artifact], store: Store) -> "Ranking":
        """Read the artifacts of a run with `goal: ranking`."""
        costs = {name: Cost.of(store.ledger.attempts([a.fingerprint])) for name, a in made.items()}
        attempts = store.ledger.attempts([artifact.fingerprint for artifact in made.values()])
        devices = frozenset(attempt.device for attempt in attempts)
        rows = read_objects(made["ranking"].path / RANKING)
        return cls(config, rows, describe_subset(made), costs, devices)


def collect_fidelity(config: PipelineConfig, rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    """Collect the results of all rankings, by the measure of their subset, and correlations."""
    full = rankings[_FULL]
    return {
        "goal": "fidelity",
        "name": config.name,
        "device": "; ".join(sorted(frozenset().union(*(r.devices for r in rankings.values())))),
        "seed": config.seed,
        "fidelity": config.fidelity.model_dump(mode="json"),
        "architectures": [
            {key: row[key] for key in ("genotype", "parameters")} for row in full.rows
        ],
        "rankings": {
            measure: {
                "subset": ranking.subset,
                "top1_errors": ranking.errors,
                "cost": {
                    "unit": sum(ranking.costs.values(), Cost()).unit,
                    "selection": hours_of(selection_cost(ranking.costs)),
                    "ranking": hours_of(ranking.costs["ranking"]),
                },
            }
            for measure, ranking in rankings.items()
        },
        "correlations": {
            measure: asdict(rank_correlation(ranking.errors, full.errors, config.seed))
            for measure, ranking in rankings.items()
            if measure != _FULL
        },
    }


def variants(own: PipelineConfig, overrides: Sequence[str]) -> list[tuple[list[str], str]]:
    """Return the overrides and name of each ranking's run: the config's subset, random, full."""
    measure, fraction = own.subset.measure, own.subset.fraction
    if measure == _FULL:
        raise ConfigError(
            "subset.measure: found 'full', which is the reference of the comparison; allowed: the "
            "other measures"
        )
    subsets = {
        measure: [],
        _RANDOM: [f"subset={{measure: random, fraction: {fraction!r}}}"],
        _FULL: [
            "subset={measure: full}"
        ],  # without the config's subset settings, so that all share it
    }
    return [
        ([*overrides, "goal=ranking", *subset], f"{own.name}-fidelity-{each}")
        for each, subset in subsets.items()
    ]


def write_fidelity(
    folder: Path,
    own: PipelineConfig,
    rankings: Mapping[str, Ranking],
    results: Mapping[str, Any],
    data: str,
) -> None:
    """Write the page and its figure. Raises ArtifactError if `folder` cannot be written."""
    parts = {measure: r for measure, r in rankings.items() if measure != _FULL}
    correlations = {m: RankCorrelation(**results["correlations"][m]) for m in parts}
    figure = fidelity_scatter(
        rankings[_FULL].errors,
        {series_title(measure): ranking.errors for measure, ranking in parts.items()},
        {series_title(measure): correlation for measure, correlation in correlations.items()},
    )
    with writable(folder, "--runs"):
        save_figure(figure, folder / _FIGURE)
    rows = [_row(measure, each, results["rankings"][measure]) for measure, each in rankings.items()]
    values = {
        "results": results,
        "data": data,
        "training": own.fidelity.training,
        "correlations": {
            series_title(m): str(correlation) for m, correlation in correlations.items()
        },
        "own_is_random": own.subset.measure == _RANDOM,
        "rows": rows,
        "figure": _FIGURE,
    }
    write_page(folder, "fidelity.md.j2", values, results)


def _row(measure: str, ranking: Ranking, results: Mapping[str, Any]) -> dict[str, Any]:
    errors, cost = ranking.errors, results["cost"]
    return {
        "series": series_title(measure),
        "run": ranking.config.name,
        "size": ranking.subset["size"],
        "errors": f"{min(errors):.2f} to {max(errors):.2f}",
        "selection": show_cost(cost["selection"], cost["unit"]),
        "ranking": show_cost(cost["ranking"], cost["unit"]),
    }


def series_title(measure: str) -> str:
    """Return the title of a measure's subset."""
    return SERIES.get(measure, measure)
