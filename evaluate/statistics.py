"""Mean, standard deviation and 95 % interval over the seeds of one setting."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t as student_t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """The seeds of one setting, in the unit of the values. One seed has neither spread nor
    interval: they are None.
    """

    n: int
    mean: float
    std: float | None
    """Sample standard deviation: divided by n - 1."""
    low: float | None
    high: float | None
    """The 95 % interval of the mean, if the values are normal (Student 1908)."""

    def __str__(self) -> str:
        """Mean ± std with one digit behind the point."""
        return format(self, ".1f")

    def __format__(self, spec: str) -> str:
        """Mean ± std, each as the float format `spec` says; ".1f" by default."""
        spread = "" if self.std is None else f" ± {self.std:{spec or '.1f'}}"
        return f"{self.mean:{spec or '.1f'}}{spread} (n = {self.n})"


def summarise_seeds(values: Sequence[float]) -> Summary:
    """Mean, sample deviation and 95 % t interval of `values`, one a seed.

    Raises ValueError if there are none.
    """
    n = len(values)
    if not n:
        raise ValueError("no values to summarise; allowed: one a seed, at least 1")
    centre = float(mean(values))
    if n == 1:
        return Summary(n, centre, None, None, None)
    std = float(stdev(values))
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, centre, std, centre - half, centre + half)


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is None, or if there are none."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) > 0 else None


def sample_deviation(values: Sequence[float | None]) -> float | None:
    """Divided by n - 1. None of fewer than two values, or if one is None or not finite."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(stdev(known)) if len(known) == len(values) > 1 else None


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Summary:
    """`first` less `second`, both values by seed, over the seeds that both have.

    What a seed does to both settings alike falls out of the interval. Raises ValueError if they
    share no seed.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ValueError(
            f"no seed in common: {sorted(first)} and {sorted(second)}; allowed: at least 1"
        )
    return summarise_seeds([first[seed] - second[seed] for seed in seeds])
