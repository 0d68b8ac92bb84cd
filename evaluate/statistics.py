"""Statistics over seeds and over images: mean, deviation, 95 % intervals, tests of differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Statistics over the seeds of one setting, in the unit of the values. With one seed, the
    spread and the interval are None.
    """

    n: int
    mean: float
    std: float | None
    """Sample standard deviation, divided by n - 1."""
    low: float | None
    high: float | None
    """95 % interval of the mean, assuming normal values (Student 1908)."""

    def __str__(self) -> str:
        """Mean ± std with one decimal."""
        return format(self, ".1f")

    def __format__(self, spec: str) -> str:
        """Mean ± std, each in the float format `spec`; ".1f" by default."""
        spread = "" if self.std is None else f" ± {self.std:{spec or '.1f'}}"
        return f"{self.mean:{spec or '.1f'}}{spread} (n = {self.n})"


def summarise_seeds(values: Sequence[float]) -> Summary:
    """Return mean, sample deviation and 95 % t interval of `values`, one per seed.

    Raises ValueError if `values` is empty.
    """
    n = len(values)
    if not n:
        raise ValueError("no values to summarise; allowed: one per seed, at least 1")
    centre = float(mean(values))
    if n == 1:
        return Summary(n, centre, None, None, None)
    from scipy.special import stdtrit  # Student's quantile, at a fraction of scipy.stats' import

    std = float(stdev(values))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(n)
    return Summary(n, centre, std, centre - half, centre + half)


def wilson_interval(count: float, number: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, `count` of `number` (Wilson 1927): two shares from
    0 to 1. Raises ValueError for a number below 1."""
    if number < 1:
        raise ValueError(f"a share of {number}; allowed: of at least 1")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, weight = count / number, z * z / number
    middle = share + weight / 2
    half = z * math.sqrt(share * (1 - share) / number + weight / number / 4)
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    # Exact at the ends, where rounding would leave the share itself outside.
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def difference_interval(first: tuple[float, int], second: tuple[float, int]) -> tuple[float, float]:
    """Return the 95 % interval of one share minus another, each a (count, number), of independent
    samples (Newcombe 1998, method 10)."""
    (low, high), (other_low, other_high) = wilson_interval(*first), wilson_interval(*second)
    one, other = first[0] / first[1], second[0] / second[1]
    return (
        one - other - math.hypot(one - low, other_high - other),
        one - other + math.hypot(high - one, other - other_low),
    )


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None if a value is None or there are no values."""
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) > 0 else None


def sample_deviation(values: Sequence[float | None]) -> float | None:
    """Return the sample deviation (n - 1); None for fewer than two values or a non-finite one."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(stdev(known)) if len(known) == len(values) > 1 else None


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Summary:
    """Summarise `first` minus `second`, both values by seed, over the seeds they share.

    Pairing removes the effects that a seed has on both settings from the interval. Raises
    ValueError if they share no seed.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ValueError(
            f"no seed in common: {sorted(first)} and {sorted(second)}; allowed: at least 1"
        )
    return summarise_seeds([first[seed] - second[seed] for seed in seeds])


def p_value(differences: Summary) -> float | None:
    """Return the two-sided p value of the paired t test (Student 1908) that the mean is 0.

    None with one seed. Equal differences have no spread: p is 0, or 1 if all are 0.
    """
    if differences.std is None:
        return None
    if differences.std == 0:
        return float(differences.mean == 0)
    from scipy.special import stdtr  # Student's distribution

    ratio = abs(differences.mean) / (differences.std / math.sqrt(differences.n))
    return float(2 * stdtr(differences.n - 1, -ratio))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p values corrected for the number of comparisons (Holm 1979), in the same order.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than the one before it
    or above 1. A comparison without a p value counts in m, as the largest, and stays None.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        corrected[place] = highest
    return corrected
