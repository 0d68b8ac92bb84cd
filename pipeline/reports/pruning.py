"""The rounds in which a search dropped images: how many were left, and what each round cost.

Also the sample on which the search trained before them.
"""

from collections.abc import Mapping
from typing import Any

from classification.durations import format_cost
from classification.persistence.untrusted_files import read_json
from pcdarts.pruning_config import PRUNING, PruningConfig
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

_MAX_BYTES = 2**30
_CHOSEN = {
    "dynamics": "those whose predictions changed least",
    "random": "random ones",
}


def collect_pruning(
    artifacts: Mapping[str, Artifact], config: PruningConfig, store: Store
) -> dict[str, Any]:
    """Return results.json's entry, from the artifacts of all searches by name and the ledger.

    The seconds of a round are wall-clock time, over all attempts.
    """
    attempts = store.ledger.attempts([artifact.fingerprint for artifact in artifacts.values()])
    return {
        "by": config.by,
        "final_fraction": config.final_fraction,
        "warmup_fraction": config.warmup_fraction,
        "unit": Cost.of(attempts).unit,
        "searches": {name: _search(artifact, store) for name, artifact in artifacts.items()},
    }


def _search(artifact: Artifact, store: Store) -> dict[str, Any]:
    content = read_json(artifact.path / PRUNING, _MAX_BYTES)
    attempts = store.ledger.attempts([artifact.fingerprint])
    rounds = []
    for number, each in enumerate(content["rounds"], 1):
        name = f"pruning round {number}"
        seconds = [attempt.parts.get(name, 0.0) for attempt in attempts]
        hours = [
            attempt.device_hours * part / attempt.seconds
            for attempt, part in zip(attempts, seconds, strict=True)
            if attempt.seconds
        ]
        rounds.append(
            {"epoch": each["epoch"], "fraction": each["fraction"], "images": _sizes(each["kept"])}
            | {"hours": round(sum(hours), 8), "seconds": round(sum(seconds), 3)}
        )
    sample = {"warmup": _sizes(content["warmup"]["images"])} if "warmup" in content else {}
    return {"images": content["images"], **sample, "rounds": rounds}


def _sizes(places: Mapping[str, list[int]]) -> dict[str, int]:
    """Return how many places there are for the weights and for α and β."""
    return {name: len(each) for name, each in places.items()}


def show_pruning(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the line and the table of the rounds, or None if no images were dropped.

    The schedule is that of all searches; restarts have rows of their own.
    """
    if "pruning" not in results:
        return None
    found = results["pruning"]
    searches, unit = found["searches"], found["unit"]
    (weights, architecture), first = (searches["search"][key] for key in ("images", "rounds"))
    last = first[-1]["images"]
    rows = [
        (name, n, r) for name, each in searches.items() for n, r in enumerate(each["rounds"], 1)
    ]
    count = f"{len(first)} round{'s' * (len(first) != 1)}"
    each_search = "the search" if len(searches) == 1 else f"each of {len(searches)} searches"
    cost = format_cost(sum(each["hours"] for *_, each in rows), unit)
    sample = searches["search"].get("warmup")
    before = ""
    if sample is not None:
        before = (
            f" Until the first round it trained on a random {found['warmup_fraction']:.1%} of each "
            f"class: {sample['weights']:,} images for the weights and {sample['architecture']:,} "
            "for α and β."
        )
    names = {} if len(searches) == 1 else {"search": [name for name, *_ in rows]}
    return {
        "line": f"In {count} {each_search} dropped images, {_CHOSEN[found['by']]}: of "
        f"{weights:,} for the weights {last['weights']:,} were left, and of {architecture:,} for "
        f"α and β {last['architecture']:,}.{before} The rounds cost {cost} of the search.",
        "columns": names
        | {
            "round": [str(number) for _, number, _ in rows],
            "after epoch": [str(each["epoch"]) for *_, each in rows],
            "left of each class": [f"{each['fraction']:.1%}" for *_, each in rows],
            "images for the weights": [f"{each['images']['weights']:,}" for *_, each in rows],
            "images for α and β": [f"{each['images']['architecture']:,}" for *_, each in rows],
            "cost": [format_cost(each["hours"], unit) for *_, each in rows],
        },
    }
