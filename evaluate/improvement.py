"""Relative improvement of found over random architectures (Yang, Esperança & Carlucci 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from classification.seeds import derive_seed

_INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Improvement:
    """(found − mean random) / mean random of accuracies, and its 95 % interval.

    The interval is None with fewer than two random architectures or, over seeds, two seeds.
    """

    value: float
    low: float | None
    high: float | None
    found: int
    random: int

    @property
    def includes_zero(self) -> bool:
        """Whether the interval does not tell found and random architectures apart."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def relative_improvement(
    found: Sequence[float], random: Sequence[float], seed: int, resamples: int = 10_000
) -> Improvement | None:
    """Return the relative improvement of the mean of `found` over the mean of `random`.

    Both are accuracies under equal training. The interval is a percentile bootstrap that draws
    anew from the found and from the random architectures: of a single found one it covers only the
    choice of the random ones. Return None where it is undefined: without values, or if the mean of
    `random` is 0.
    """
    if not found or not random or mean(random) == 0:
        return None
    value = mean(found) / mean(random) - 1
    low = high = None
    if len(random) > 1:
        generator = np.random.default_rng(derive_seed(seed, "contest-bootstrap"))
        drawn, base = (_means(each, resamples, generator) for each in (found, random))
        ratios = drawn[base > 0] / base[base > 0] - 1
        low, high = np.percentile(ratios, _INTERVAL).tolist()
    return Improvement(value, low, high, len(found), len(random))


def improvement_over_seeds(
    found: Mapping[int, Sequence[float]],
    random: Mapping[int, Sequence[float]],
    seed: int,
    resamples: int = 10_000,
) -> Improvement | None:
    """Return the relative improvement of found over random architectures, given by run seed.

    Only seeds that have both count. The mean of `found`, and of `random`, is that of the seeds'
    means. The percentile bootstrap is hierarchical: it draws seeds, the same for both, and in each
    drawn seed architectures, so that it covers both choices. None where it is undefined.
    """
    seeds = sorted(key for key in found.keys() & random.keys() if found[key] and random[key])
    groups = [[each[key] for key in seeds] for each in (found, random)]
    averages = [mean(mean(each) for each in values) if values else 0.0 for values in groups]
    if averages[1] == 0:
        return None
    low = high = None
    if len(seeds) > 1:
        generator = np.random.default_rng(derive_seed(seed, "contests-bootstrap"))
        drawn = generator.integers(len(seeds), size=(resamples, len(seeds)))
        above, base = (_means_of_seeds(values, drawn, generator) for values in groups)
        low, high = np.percentile(above[base > 0] / base[base > 0] - 1, _INTERVAL).tolist()
    numbers = (sum(map(len, values)) for values in groups)
    return Improvement(averages[0] / averages[1] - 1, low, high, *numbers)


def _means_of_seeds(
    values: Sequence[Sequence[float]], drawn: NDArray[np.integer], generator: np.random.Generator
) -> NDArray[np.floating]:
    """Return the means [R] over the drawn seeds [R, S] of their resampled values' means."""
    means = np.empty(drawn.shape)
    for index, own in enumerate(values):
        at = drawn == index
        means[at] = _means(own, int(at.sum()), generator)
    return means.mean(axis=1)


def _means(
    values: Sequence[float], resamples: int, generator: np.random.Generator
) -> NDArray[np.floating]:
    """Return the means [R] of R samples of the values, drawn with replacement."""
    drawn = generator.integers(len(values), size=(resamples, len(values)))
    return np.asarray(values, dtype=float)[drawn].mean(axis=1)
