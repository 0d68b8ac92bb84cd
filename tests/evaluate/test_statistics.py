from math import sqrt

import pytest
from scipy.stats import binomtest

from evaluate.statistics import (
    Summary,
    difference_interval,
    holm,
    p_value,
    paired_difference,
    summarise_seeds,
    wilson_interval,
)


def test_three_seeds_have_the_interval_of_students_table() -> None:
    # Mean 42, deviation 2; the table's 97.5 % quantile at 2 degrees of freedom is 4.303.
    summary = summarise_seeds([40, 42, 44])
    assert (summary.n, summary.mean, summary.std) == (3, 42, 2)
    half = 4.303 * 2 / sqrt(3)
    assert summary.low == pytest.approx(42 - half, abs=1e-3)
    assert summary.high == pytest.approx(42 + half, abs=1e-3)


def test_two_seeds_have_a_far_wider_interval() -> None:
    # Deviation √2, over √2; the quantile at 1 degree of freedom is 12.706.
    summary = summarise_seeds([1.0, 3.0])
    assert summary.low == pytest.approx(2 - 12.706, abs=1e-3)


def test_one_seed_has_neither_deviation_nor_interval() -> None:
    assert summarise_seeds([42.0]) == Summary(1, 42.0, None, None, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert summarise_seeds([5.0, 5.0]) == Summary(2, 5.0, 0.0, 5.0, 5.0)


def test_no_values_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        summarise_seeds([])


def test_a_summary_reads_as_mean_deviation_and_number() -> None:
    assert str(summarise_seeds([41.4, 42.7, 44.0])) == "42.7 ± 1.3 (n = 3)"
    assert f"{summarise_seeds([41.4, 42.7, 44.0])}" == "42.7 ± 1.3 (n = 3)"
    assert str(summarise_seeds([42.7])) == "42.7 (n = 1)"
    assert f"{summarise_seeds([0.01, 0.03]):.3f}" == "0.020 ± 0.014 (n = 2)"


def test_a_paired_difference_is_over_the_shared_seeds() -> None:
    # Seeds 0, 1, 2: differences 1, 2, 3; seeds 7 and 8 have no partner.
    first = {2: 63.0, 0: 41.0, 1: 52.0, 7: 0.0}
    second = {0: 40.0, 1: 50.0, 2: 60.0, 8: 99.0}
    difference = paired_difference(first, second)
    assert (difference.n, difference.mean, difference.std) == (3, 2, 1)
    assert difference.high == pytest.approx(2 + 4.303 / sqrt(3), abs=1e-3)


def test_pairing_takes_out_what_a_seed_does_to_both() -> None:
    # The seeds differ by 10 and 20, the settings by 1 at each of them.
    difference = paired_difference({0: 11, 1: 21, 2: 31}, {0: 10, 1: 20, 2: 30})
    assert difference == Summary(3, 1.0, 0.0, 1.0, 1.0)


def test_settings_without_a_shared_seed_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\] and \[2\]"):
        paired_difference({0: 1.0, 1: 1.0}, {2: 1.0})


def test_the_p_value_of_three_seeds_is_students() -> None:
    # At 2 degrees of freedom the distribution has a closed form: p = 1 - t / √(t² + 2). The mean
    # is 2, the deviation 1, so t = 2·√3 and p = 1 - √12 / √14.
    assert p_value(summarise_seeds([1, 2, 3])) == pytest.approx(1 - sqrt(12 / 14))
    assert p_value(summarise_seeds([-1, -2, -3])) == pytest.approx(1 - sqrt(12 / 14))


def test_an_interval_that_ends_at_zero_has_p_of_a_twentieth() -> None:
    half = summarise_seeds([1, 2, 3]).mean - (summarise_seeds([1, 2, 3]).low or 0)
    moved = [value - 2 + half for value in (1, 2, 3)]
    assert summarise_seeds(moved).low == pytest.approx(0)
    assert p_value(summarise_seeds(moved)) == pytest.approx(0.05)


def test_differences_without_spread_are_certain_and_one_seed_is_not() -> None:
    assert p_value(summarise_seeds([2.0, 2.0])) == 0
    assert p_value(summarise_seeds([0.0, 0.0])) == 1
    assert p_value(summarise_seeds([2.0])) is None


def test_holms_correction_multiplies_the_smallest_most() -> None:
    # 0.005 · 4, 0.01 · 3, 0.03 · 2; 0.04 · 1 is below 0.06, the one before it.
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_corrected_p_value_is_at_most_one() -> None:
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_comparison_without_a_p_value_is_counted() -> None:
    # 0.01 · 3 and 0.02 · 2: the unknown one is counted as the largest of three.
    assert holm([0.02, None, 0.01]) == [pytest.approx(0.04), None, pytest.approx(0.03)]


@pytest.mark.parametrize(("count", "number"), [(0, 5), (5, 5), (69, 119), (1, 10_000)])
def test_the_interval_of_a_share_is_scipys(count: int, number: int) -> None:
    expected = binomtest(count, number).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, number) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_difference_is_the_published_one() -> None:
    # Newcombe 1998, Table II, example (a), method 10: 56/70 - 48/80.
    low, high = difference_interval((56, 70), (48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
