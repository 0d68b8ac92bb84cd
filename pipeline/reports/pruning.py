"""The rounds in which a search dropped images: how many were left, and what each round cost."""

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


def collect_pruning(artifact: Artifact, config: PruningConfig, store: Store) -> dict[str, Any]:
    """Return results.json's entry, from the search's artifact and the ledger.

    The seconds of a round are wall-clock time, over all attempts.
    """
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
        left = {name: len(places) for name, places in each["kept"].items()}
        rounds.append(
            {"epoch": each["epoch"], "fraction": each["fraction"], "images": left}
            | {"hours": round(sum(hours), 8), "seconds": round(sum(seconds), 3)}
        )
    return {
        "by": config.by,
        "final_fraction": config.final_fraction,
        "images": content["images"],
        "unit": Cost.of(attempts).unit,
        "rounds": rounds,
    }


def show_pruning(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the line and the table of the rounds, or None if no images were dropped."""
    if "pruning" not in results:
        return None
    found = results["pruning"]
    rounds, unit, (weights, architecture) = found["rounds"], found["unit"], found["images"]
    last = rounds[-1]["images"]
    count = f"{len(rounds)} round{'s' * (len(rounds) != 1)}"
    cost = format_cost(sum(each["hours"] for each in rounds), unit)
    return {
        "line": f"In {count} the search dropped images, {_CHOSEN[found['by']]}: of {weights:,} for "
        f"the weights {last['weights']:,} were left, and of {architecture:,} for α and β "
        f"{last['architecture']:,}. The rounds cost {cost} of the search.",
        "columns": {
            "round": [str(number) for number in range(1, len(rounds) + 1)],
            "after epoch": [str(each["epoch"]) for each in rounds],
            "left of each class": [f"{each['fraction']:.1%}" for each in rounds],
            "images for the weights": [f"{each['images']['weights']:,}" for each in rounds],
            "images for α and β": [f"{each['images']['architecture']:,}" for each in rounds],
            "cost": [format_cost(each["hours"], unit) for each in rounds],
        },
    }
