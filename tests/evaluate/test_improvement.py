"""The relative improvement over random architectures, and its interval."""

import pytest
from scipy.stats import bootstrap

from evaluate.improvement import improvement_over_seeds, relative_improvement


def test_the_improvement_is_relative_to_the_mean_of_the_random_ones():
    found = relative_improvement([0.66], [0.5, 0.6, 0.7], seed=0)
    assert found.value == pytest.approx(0.1)  # (0.66 - 0.6) / 0.6
    assert (found.found, found.random) == (1, 3)


def test_the_interval_of_equal_contestants_covers_zero():
    found = relative_improvement([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], seed=0)
    assert found.value == 0
    assert found.low < 0 < found.high
    assert found.includes_zero
    assert relative_improvement([0.6], [0.6, 0.6], seed=0).includes_zero


@pytest.mark.parametrize(("shift", "sign"), [(0.2, 1), (-0.2, -1)])
def test_the_interval_of_clearly_different_contestants_excludes_zero(shift, sign):
    random = [0.50, 0.52, 0.51, 0.49, 0.48]
    found = relative_improvement([each + shift for each in random], random, seed=0)
    assert not found.includes_zero
    assert sign * found.low > 0
    assert sign * found.high > 0


def test_the_interval_is_scipys_percentile_bootstrap():
    found, random = [0.61, 0.64, 0.58, 0.66], [0.55, 0.6, 0.57, 0.63, 0.52, 0.59]

    def statistic(first, second, axis):
        return first.mean(axis=axis) / second.mean(axis=axis) - 1

    theirs = bootstrap(
        (found, random), statistic, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    ours = relative_improvement(found, random, seed=0, resamples=20_000)
    assert ours.low == pytest.approx(theirs.low, abs=2e-3)
    assert ours.high == pytest.approx(theirs.high, abs=2e-3)


def test_one_random_architecture_gives_no_interval():
    found = relative_improvement([0.6, 0.7], [0.5], seed=0)
    assert found.low is None
    assert found.includes_zero


@pytest.mark.parametrize(("found", "random"), [([], [0.5]), ([0.5], []), ([0.5], [0.0, 0.0])])
def test_without_a_comparison_there_is_no_improvement(found, random):
    assert relative_improvement(found, random, seed=0) is None


def test_the_interval_over_seeds_draws_seeds_and_then_architectures():
    """Without spread in a seed, a sample of two seeds has one of three values: 0.6 / 0.5 - 1,
    0.3 / 0.2 - 1, each with probability 1/4, and 0.45 / 0.35 - 1 = 2 / 7 for one of each."""
    found, random = {0: [0.6, 0.6], 1: [0.3]}, {0: [0.5], 1: [0.2, 0.2, 0.2], 2: [0.9]}
    improvement = improvement_over_seeds(found, random, seed=0)
    assert improvement.value == pytest.approx(2 / 7)
    assert (improvement.low, improvement.high) == pytest.approx((0.2, 0.5))
    assert (improvement.found, improvement.random) == (3, 4)  # seed 2 found nothing


def test_the_interval_over_seeds_covers_the_spread_in_a_seed():
    """Seeds alike, 0.4 or 0.6 found beside 0.5: both seeds' two draws are 0.4 in 1 of 16 samples,
    and as many are 0.6, so the percentiles are these extremes: ±0.2."""
    found, random = {0: [0.4, 0.6], 1: [0.4, 0.6]}, {0: [0.5], 1: [0.5]}
    improvement = improvement_over_seeds(found, random, seed=0)
    assert improvement.value == pytest.approx(0, abs=1e-12)
    assert (improvement.low, improvement.high) == pytest.approx((-0.2, 0.2))


def test_one_seed_gives_no_interval_over_seeds_and_none_no_improvement():
    one = improvement_over_seeds({0: [0.6]}, {0: [0.5, 0.5]}, seed=0)
    assert (one.value, one.low) == (pytest.approx(0.2), None)
    assert improvement_over_seeds({0: [0.6]}, {1: [0.5]}, seed=0) is None
