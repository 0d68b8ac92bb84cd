"""results.json of a run with a search: the network found and its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classification.errors import ArtifactError
from classification.persistence.untrusted_files import read_object
from pipeline.config import PipelineConfig
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.retrain import SUMMARY
from pipeline.stages.scores import RELIABILITY
from pipeline.stages.search import GENOTYPE, searches_of, stages_of_search
from pipeline.stages.subset import SUBSET
from pipeline.stages.width import chosen_width
from pipeline.store.ledger import Attempt, Cost, software_of
from pipeline.store.store import Artifact, Store
from subsample.measures import MEASURES_OF_FILES

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset

SELECTION = ("scorer", "scores", "baseline", "subset")  # stages that make up the cost of a subset
MADE_ELSEWHERE = "the images were scored or chosen elsewhere, at an unknown cost"
_HOURS_DIGITS = 8


def collect_results(
    config: PipelineConfig,
    artifacts: Mapping[str, Artifact],
    store: Store,
    full_search: str,
    num_train: int,
) -> dict[str, Any]:
    """Collect the results of a finished run.

    `full_search` is the fingerprint of the same search stage on all `num_train` images. If it is
    in the ledger, break-even is measured, else it is estimated from the number of steps.
    """
    from pcdarts.genotype import Genotype  # slow to import, and reading needs none of it

    costs = {name: Cost.of(store.ledger.attempts([a.fingerprint])) for name, a in artifacts.items()}
    subset = describe_subset(artifacts)
    network = read_object(artifacts["retrain"].path / SUMMARY)
    attempts = store.ledger.attempts([a.fingerprint for a in artifacts.values()])
    return {
        "name": config.name,
        "device": "; ".join(sorted({attempt.device for attempt in attempts})),
        "software": software_of(attempts),
        "seed": config.seed,
        "subset": subset,
        "genotype": Genotype.load(artifacts[genotype_stage(config)].path / GENOTYPE).to_dict(),
        "network": describe_network(artifacts),
        "accuracy": network["accuracy"],
        "cost": _cost(config, costs)
        | _break_even(config, costs, subset["size"], num_train, store, full_search),
        "search_epochs": config.search.epochs,
    }


def describe_network(artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the retrained network's channels and size, and width.json if there is a budget."""
    path = artifacts["retrain"].path / SUMMARY
    network = read_object(path)
    keys = ("channels", "parameters", "multiply_adds", "all_multiply_adds")
    if missing := ", ".join(key for key in keys if key not in network):
        raise ArtifactError(f"{path}: lacks {missing} (an older version); run --force retrain")
    found = {key: network[key] for key in keys}
    return found | ({"width": chosen_width(artifacts["width"])} if "width" in artifacts else {})


def describe_subset(artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the subset's measure, order, fraction, size, and the reliability of its scores."""
    from subsample.selection import Subset

    subset = Subset.load(artifacts["subset"].path / SUBSET)
    elsewhere = {"made_elsewhere": True} if subset.measure in MEASURES_OF_FILES else {}
    return elsewhere | {
        "measure": subset.measure,
        "order": subset.order,
        "fraction": subset.fraction,
        "size": len(subset.all_indices),
        "reliability": _reliability(artifacts),
    }


def class_sizes(data: ImageDataset, artifacts: Mapping[str, Artifact]) -> dict[str, dict[str, int]]:
    """Return the number of images per class, of all training images and of the subset."""
    from subsample.selection import Subset, class_histogram

    return {
        "train": class_histogram(data.train.labels.numpy(), data.classes),
        "subset": dict(Subset.load(artifacts["subset"].path / SUBSET).class_histogram),
    }


def describe_class_sizes(sizes: Mapping[str, Mapping[str, int]]) -> str:
    """Return a text such as `2 to 1,000, of which the subset keeps 2 to 100`."""
    ranges = [
        f"{least:,}" if least == most else f"{least:,} to {most:,}"
        for least, most in ((min(each.values()), max(each.values())) for each in sizes.values())
    ]
    return ", of which the subset keeps ".join(ranges)


def selection_cost(costs: Mapping[str, Cost]) -> Cost:
    """Return the cost of the subset: the sum over the stages of SELECTION."""
    return sum((costs[name] for name in SELECTION if name in costs), Cost())


def search_cost(config: PipelineConfig, costs: Mapping[str, Cost]) -> Cost:
    """Return the cost of the search and its restarts, with that of their warm-up if the scorer is
    the supernet."""
    return sum((costs[name] for name in stages_of_search(config) if name in costs), Cost())


def cost_before_search(config: PipelineConfig, costs: Mapping[str, Cost]) -> Cost:
    """Return the part of the subset's cost that a search on all images does not have."""
    own = stages_of_search(config)
    return selection_cost({name: cost for name, cost in costs.items() if name not in own})


def hours_of(cost: Cost) -> float | dict[str, float]:
    """Return hours as in results.json, by device kind if both were used."""
    hours = cost.hours
    if hours is None:
        return {"gpu_hours": _round(cost.gpu_hours), "cpu_hours": _round(cost.cpu_hours)}
    return _round(hours)


def wall_hours_of(costs: Mapping[str, Cost]) -> dict[str, float]:
    """Return the wall-clock hours of each stage, as in results.json."""
    return {name: _round(cost.wall_hours) for name, cost in costs.items()}


def _cost(config: PipelineConfig, costs: Mapping[str, Cost]) -> dict[str, Any]:
    search, contest = search_cost(config, costs), costs.get("contest", Cost())
    total = cost_before_search(config, costs) + search
    return {
        "unit": sum(costs.values(), Cost()).unit,
        "stages": {name: hours_of(cost) for name, cost in costs.items()},
        "wall_hours": wall_hours_of(costs),
        "searches": len(searches_of(config)),
        "one_search": hours_of(_warm_up_cost(config, costs) + costs["search"]),
        "search_alone": hours_of(search),
        "total": hours_of(total),
        "contest": hours_of(contest) if "contest" in costs else None,
        "total_with_retraining": hours_of(total + contest + costs["retrain"]),
    }


def _warm_up_cost(config: PipelineConfig, costs: Mapping[str, Cost]) -> Cost:
    """Return the cost of the scorer if it is the warm-up of the search."""
    return costs["scorer"] if "scorer" in stages_of_search(config) else Cost()


def _break_even(
    config: PipelineConfig,
    costs: Mapping[str, Cost],
    subset_size: int,
    num_train: int,
    store: Store,
    full_search: str,
) -> dict[str, Any]:
    """Return the break-even of the subset, compared with searches on all images."""
    if config.subset.measure == "full":
        basis = "this is the full-data search"
        if config.search.pruning is not None:
            basis = "the search begins on all images and drops some itself"
        return {"break_even_searches": None, "break_even_basis": basis}
    if config.subset.made_elsewhere:
        return {"break_even_searches": None, "break_even_basis": MADE_ELSEWHERE}
    warm_up = _warm_up_cost(config, costs)
    search = warm_up + costs["search"]
    full, basis = _full_search_hours(
        config, costs["search"], warm_up, subset_size, num_train, store, full_search
    )
    searches = break_even(cost_before_search(config, costs).hours, search.hours, full)
    if searches is None or full is None:
        return {"break_even_searches": None, "break_even_basis": basis}
    return {
        "break_even_searches": searches,
        "break_even_basis": basis,
        "full_search": _round(full),
    }


def break_even(selection: float | None, search: float | None, full: float | None) -> int | None:
    """Return the number of searches of `search` hours after which a subset that cost `selection`
    hours before them is cheaper than searches of `full` hours. None if never, or if unknown."""
    if selection is None or search is None or full is None or full <= search:
        return None
    return math.ceil(selection / (full - search))


def _full_search_hours(
    config: PipelineConfig,
    search: Cost,
    warm_up: Cost,
    subset_size: int,
    num_train: int,
    store: Store,
    full_search: str,
) -> tuple[float | None, str]:
    """Return the cost of a search on all images, which includes `warm_up`, and its basis."""
    attempts = store.ledger.attempts([full_search])
    if any(attempt.outcome == "done" for attempt in attempts):
        return (warm_up + Cost.of(attempts)).hours, _measured_basis(attempts)
    stage, before = search.hours, warm_up.hours
    if stage is None or before is None:
        return None, "the search ran on CPU and GPU, whose hours cannot be added"
    batch = config.search.batch_size
    # The share that trains the weights: one half, unless α and β have a separate list.
    kept, beside = config.subset.fraction, config.subset.architecture_fraction
    share = 0.5 if beside is None else kept / (kept + beside)
    steps = math.ceil(round(subset_size * share, 6) / batch)
    full_steps = math.ceil(num_train / 2 / batch)
    return (
        before + stage * full_steps / steps,
        f"estimated: {full_steps} steps per epoch against {steps}",
    )


def _measured_basis(attempts: list[Attempt]) -> str:
    return f"measured: the full-data search in this store, on {attempts[-1].device}"


def _reliability(artifacts: Mapping[str, Artifact]) -> dict[str, Any] | None:
    if "scores" not in artifacts:
        return None
    return read_object(artifacts["scores"].path / RELIABILITY)


def _round(hours: float) -> float:
    return round(hours, _HOURS_DIGITS)
