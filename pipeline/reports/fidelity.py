"""Report of `fidelity`: the rank correlation of architectures between a subset and all images.

It compares three rankings of the same architectures in one store: on the config's subset, on a
random subset of the same fraction, and on all images, which is shared by every subset. With several
seeds each has its scorer, its subsets and its trainings of the same architectures. The ranking of a
seed is compared with the mean errors on all images of the other seeds, so that the ranking on all
images can be compared in the same way and shows what the noise of training allows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from classification.errors import ConfigError
from classification.persistence.storage import writable
from classification.persistence.untrusted_files import read_objects
from evaluate.fidelity import RankCorrelation, mean_of_others, mean_rank_correlation
from evaluate.figures.subset import fidelity_scatter
from pipeline.config import PipelineConfig
from pipeline.reports.page import show_cost, write_html, write_page
from pipeline.reports.picture import Picture
from pipeline.reports.results import describe_subset, hours_of, selection_cost
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import PAGE
from pipeline.stages.ranking import RANKING
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

_FULL, _RANDOM = "full", "random"
_FIGURE = "ranking"


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


@dataclass(frozen=True)
class Rankings:
    """The rankings of one kind of subset, one a seed, of the same architectures."""

    seeds: tuple[Ranking, ...]

    @property
    def errors(self) -> list[list[float]]:
        """Top-1 errors in percent, by seed and architecture."""
        return [ranking.errors for ranking in self.seeds]

    @property
    def mean_errors(self) -> list[float]:
        """Mean over seeds of each architecture's top-1 error, percent."""
        return [fmean(errors) for errors in zip(*self.errors, strict=True)]

    def cost(self, of: Callable[[Mapping[str, Cost]], Cost]) -> Cost:
        """Return the sum over seeds of a part of their costs."""
        return sum((of(ranking.costs) for ranking in self.seeds), Cost())


def collect_fidelity(config: PipelineConfig, rankings: Mapping[str, Rankings]) -> dict[str, Any]:
    """Collect the results of all rankings, by the measure of their subset, and correlations."""
    full = rankings[_FULL]
    devices = (each.devices for group in rankings.values() for each in group.seeds)
    reference = mean_of_others(full.errors)
    return {
        "goal": "fidelity",
        "name": config.name,
        "device": "; ".join(sorted(frozenset().union(*devices))),
        "seed": config.seed,
        "seeds": [ranking.config.seed for ranking in full.seeds],
        "fidelity": config.fidelity.model_dump(mode="json"),
        "architectures": [
            {key: row[key] for key in ("genotype", "parameters")} for row in full.seeds[0].rows
        ],
        "rankings": {
            measure: {
                "subset": group.seeds[0].subset,
                "top1_errors": group.mean_errors,
                "top1_errors_by_seed": {str(r.config.seed): r.errors for r in group.seeds},
                "cost": {
                    "unit": group.cost(lambda costs: sum(costs.values(), Cost())).unit,
                    "selection": hours_of(group.cost(selection_cost)),
                    "ranking": hours_of(group.cost(itemgetter("ranking"))),
                },
            }
            for measure, group in rankings.items()
        },
        "correlations": {
            measure: asdict(mean_rank_correlation(group.errors, reference, config.seed))
            for measure, group in rankings.items()
            if measure != _FULL or len(full.seeds) > 1
        },
    }


def variants(
    own: PipelineConfig, overrides: Sequence[str], seeds: int = 1
) -> dict[str, list[tuple[list[str], str]]]:
    """Return the overrides and name of each ranking's runs, by measure: the config's subset,
    random, full. Several `seeds`, from the config's on, share the architectures.
    """
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
    shared = own.seed if own.fidelity.seed is None else own.fidelity.seed
    changes: list[tuple[list[str], str]] = [([], "")]
    if seeds > 1:
        changes = [
            ([f"seed={seed}", f"fidelity.seed={shared}"], f"-{seed}")
            for seed in range(own.seed, own.seed + seeds)
        ]
    return {
        each: [
            ([*overrides, "goal=ranking", *subset, *more], f"{own.name}-fidelity-{each}{suffix}")
            for more, suffix in changes
        ]
        for each, subset in subsets.items()
    }


def write_fidelity(
    folder: Path,
    own: PipelineConfig,
    rankings: Mapping[str, Rankings],
    results: Mapping[str, Any],
    data: Mapping[str, Any],
) -> None:
    """Write the pages and their figure; `data` is from `describe_dataset`.

    Raises ArtifactError if `folder` cannot be written.
    """
    correlations = {
        correlation_title(measure, own): RankCorrelation(**found)
        for measure, found in results["correlations"].items()
    }
    taus = "; ".join(f"{name}, τ = {found}" for name, found in correlations.items())
    figure = fidelity_scatter(
        rankings[_FULL].mean_errors,
        {series_title(m, own): each.mean_errors for m, each in rankings.items() if m != _FULL},
        correlations,
    )
    title = "Errors on a part over errors on the full data"
    with writable(folder, "--runs"):
        picture = Picture.save(folder, _FIGURE, figure, title, f"{title}: {taus}.")
    values = {
        "results": results,
        "data": data,
        "training": own.fidelity.training,
        "correlations": {name: str(found) for name, found in correlations.items()},
        "own_is_random": own.subset.measure == _RANDOM,
        "rows": [
            _row(measure, own, each, results["rankings"]) for measure, each in rankings.items()
        ],
        "picture": picture,
    }
    write_html(folder / PAGE, "fidelity.html.j2", values)
    write_page(folder, "fidelity.md.j2", values, results)


def _row(
    measure: str, own: PipelineConfig, group: Rankings, results: Mapping[str, Any]
) -> dict[str, Any]:
    errors, cost = group.mean_errors, results[measure]["cost"]
    return {
        "series": series_title(measure, own),
        "run": ", ".join(ranking.config.name for ranking in group.seeds),
        "size": group.seeds[0].subset["size"],
        "errors": f"{min(errors):.2f} to {max(errors):.2f}",
        "selection": show_cost(cost["selection"], cost["unit"]),
        "ranking": show_cost(cost["ranking"], cost["unit"]),
    }


def series_title(measure: str, own: PipelineConfig) -> str:
    """Return the title of a measure's subset, `own` being the config that is compared."""
    subset = own.subset
    return name_subset(measure, subset.order if measure == subset.measure else "deterministic")


def correlation_title(measure: str, own: PipelineConfig) -> str:
    """Return the title of a ranking that is compared with the one on all images."""
    return "full data, other seeds" if measure == _FULL else series_title(measure, own)
