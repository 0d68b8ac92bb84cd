"""The mean landscape over seeds, and the width of a landscape."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from evaluate.statistics import mean_of, sample_deviation

Result = Mapping[str, Any]  # as `evaluate.landscape` describes it

RISE = 1.0
"""Rise of the loss, nats, that defines `half_width`; our choice, as the paper has no measure."""


def mean_landscape(results: Sequence[Result]) -> dict[str, Any]:
    """Return the mean over one setting's seeds for `landscape_figures`; a single seed is unchanged.

    Losses and accuracies along the line and under noise are means over seeds, each with its own
    random direction and noise; `loss_deviations` and `accuracy_deviations` are the sample
    deviations between seeds. The mean is None where one loss is not finite. `seeds` is their
    number. The plane and the curvature are the first seed's, because eigenvectors differ between
    seeds. Raises ValueError if there are no results, or if their grids differ.
    """
    if not results:
        raise ValueError("no landscapes to take the mean of; allowed: at least 1")
    first = dict(results[0])
    if len(results) == 1:
        return first
    if any(r["line"]["alphas"] != first["line"]["alphas"] for r in results):
        raise ValueError("landscapes with different points; allowed: lines with the same alphas")
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
    """Return the |α| at which the loss has risen by `RISE`: the mean of both sides, interpolated
    linearly. None if a side never rises as far, or the loss at α = 0 is not finite.
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
    """Return the mean rise of the loss under noise of each σ, nats: the expected sharpness of
    Neyshabur et al. 2017, section 2.3. None where a loss is not finite.
    """
    trained, noise = result["trained"]["loss"], result["noise"]
    means = noise["loss_means"] if noise else []
    return [None if m is None or trained is None else m - trained for m in means]


def _reach(alphas: Sequence[float], losses: Sequence[float | None]) -> float | None:
    """Return the |α| at which losses that start at α = 0 first exceed the first by `RISE`."""
    if losses[0] is None:
        return None
    wanted, before = losses[0] + RISE, (abs(alphas[0]), losses[0])
    for alpha, loss in zip(alphas[1:], losses[1:], strict=True):
        if loss is None:
            return abs(alpha)  # a loss that is not finite exceeds every threshold
        if loss >= wanted:
            share = (wanted - before[1]) / (loss - before[1])
            return before[0] + share * (abs(alpha) - before[0])
        before = (abs(alpha), loss)
    return None


def _over_seeds(parts: Sequence[Mapping[str, Any]], key: str, spread: str) -> dict[str, list[Any]]:
    """Return means and sample deviations over seeds of each value under `key`."""
    places = list(zip(*(part[key] for part in parts), strict=True))
    return {
        key: [mean_of(values) for values in places],
        spread: [sample_deviation(values) for values in places],
    }
