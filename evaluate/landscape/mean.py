"""The mean landscape over seeds, and the width of a landscape."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from evaluate.statistics import mean_of, sample_deviation

Result = Mapping[str, Any]  # as `evaluate.landscape` describes it

RISE = 1.0
"""Nats by which the loss has risen where `half_width` ends; ours, for the paper has no measure."""


def mean_landscape(results: Sequence[Result]) -> dict[str, Any]:
    """What `landscape_figures` draws of one setting's seeds; of one seed its landscape as it is.

    Losses and accuracies along the line and under noise are means over the seeds, each of which has
    a random direction and noise of its own, with `loss_deviations` and `accuracy_deviations` that
    are the sample deviations between seeds; a loss that is not finite for one has no mean. `seeds`
    says how many they are. The plane and the curvature are the first seed's: each has its own
    eigenvectors. Raises ValueError if there are none, or if they were not drawn alike.
    """
    if not results:
        raise ValueError("no landscapes to take the mean of; allowed: at least 1")
    first = dict(results[0])
    if len(results) == 1:
        return first
    if any(r["line"]["alphas"] != first["line"]["alphas"] for r in results):
        raise ValueError("landscapes of other points; allowed: lines of the same alphas")
    trained = [r["trained"] for r in results]
    lines = [r["line"] for r in results]
    first |= {
        "seeds": len(results),
        "trained": {
            "loss": mean_of([t["loss"] for t in trained]),
            "loss_deviation": sample_deviation([t["loss"] for t in trained]),
            "accuracy": mean_of([t["accuracy"] for t in trained]),
            "accuracy_deviation": sample_deviation([t["accuracy"] for t in trained]),
        },
        "line": {
            "alphas": first["line"]["alphas"],
            **_over_seeds(lines, "losses", "loss_deviations"),
            **_over_seeds(lines, "accuracies", "accuracy_deviations"),
        },
    }
    if first["noise"]:
        noises = [r["noise"] for r in results]
        first["noise"] = first["noise"] | {
            **_over_seeds(noises, "loss_means", "loss_deviations"),
            **_over_seeds(noises, "accuracy_means", "accuracy_deviations"),
        }
    return first


def half_width(result: Result) -> float | None:
    """How far along the line the loss has risen by `RISE`: |α|, the mean of both sides, linear
    between the points. None where a side never rises so far, or the loss at α = 0 is not finite.
    """
    alphas, losses = result["line"]["alphas"], result["line"]["losses"]
    middle = len(alphas) // 2
    sides = [
        _reach(alphas[middle:], losses[middle:]),
        _reach(alphas[middle::-1], losses[middle::-1]),
    ]
    reached = [side for side in sides if side is not None]
    return mean(reached) if len(reached) == len(sides) else None


def sharpness(result: Result) -> list[float | None]:
    """By how many nats noise of each σ raises the loss in the mean over its draws: the expected
    sharpness of Neyshabur et al. 2017, section 2.3. None where a loss is not finite.
    """
    trained, noise = result["trained"]["loss"], result["noise"]
    means = noise["loss_means"] if noise else []
    return [None if m is None or trained is None else m - trained for m in means]


def _reach(alphas: Sequence[float], losses: Sequence[float | None]) -> float | None:
    """|α| at which losses that begin at α = 0 first exceed their first by `RISE`."""
    if losses[0] is None:
        return None
    wanted, before = losses[0] + RISE, (abs(alphas[0]), losses[0])
    for alpha, loss in zip(alphas[1:], losses[1:], strict=True):
        if loss is None:
            return abs(alpha)  # beyond all that is finite
        if loss >= wanted:
            share = (wanted - before[1]) / (loss - before[1])
            return before[0] + share * (abs(alpha) - before[0])
        before = (abs(alpha), loss)
    return None


def _over_seeds(parts: Sequence[Mapping[str, Any]], key: str, spread: str) -> dict[str, list[Any]]:
    """Means and sample deviations of the values at each place under `key`."""
    places = list(zip(*(part[key] for part in parts), strict=True))
    return {
        key: [mean_of(values) for values in places],
        spread: [sample_deviation(values) for values in places],
    }
