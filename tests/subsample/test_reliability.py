"""Properties of the split-half reliability, on losses whose signal and noise are known."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from subsample.config import ScoresConfig
from subsample.reliability import (
    Reliability,
    correlation_interval,
    draws_for,
    reliability_warning,
    spearman_brown,
    split_half_reliability,
)

CONFIG = ScoresConfig()


def noise(num_images: int, draws: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((num_images, draws))


def test_mean_agrees_with_the_closed_form_for_normal_losses() -> None:
    # A signal and a noise of variance 1 each: halves of one draw correlate by 1/2, which is
    # 6/π · asin(1/4) in ranks.
    signal = np.random.default_rng(1).standard_normal((20_000, 1))
    reliability = split_half_reliability(signal + noise(20_000, 2), CONFIG, "mean")
    expected = 6 / math.pi * math.asin(0.25)
    assert reliability.correlation == pytest.approx(expected, abs=0.02)
    assert reliability.spearman_brown == pytest.approx(2 * expected / (1 + expected), abs=0.02)


def test_images_of_unlike_spread_rank_reliably() -> None:
    spread = np.linspace(0.1, 3, 2000)[:, None]
    losses = 10 + spread * noise(2000, 20)
    for measure in ("cv", "std"):
        reliability = split_half_reliability(losses, CONFIG, measure)
        assert reliability.correlation is not None
        assert reliability.correlation > 0.8
        assert reliability_warning(reliability, CONFIG) is None


def test_pure_noise_ranks_by_chance() -> None:
    reliability = split_half_reliability(10 + noise(4000, 10), CONFIG)
    assert reliability.correlation == pytest.approx(0, abs=0.05)


def test_the_same_losses_give_the_same_figure() -> None:
    losses = 10 + noise(100, 10)
    assert split_half_reliability(losses, CONFIG) == split_half_reliability(losses, CONFIG)


@pytest.mark.parametrize("draws", [2, 3])
def test_two_or_three_draws_leave_the_spread_unknown_but_not_the_mean(draws: int) -> None:
    losses = 10 + noise(50, draws)
    reliability = split_half_reliability(losses, CONFIG)
    assert reliability == Reliability(None, None)
    assert "at least 4" in str(reliability_warning(reliability, ScoresConfig(draws=draws)))
    assert split_half_reliability(losses, CONFIG, "mean").correlation is not None


@pytest.mark.parametrize("value", [0.0, 0.1, 2.0])
def test_constant_losses_have_no_ranking(value: float) -> None:
    losses = np.full((20, 10), value, np.float32)
    for measure in ("cv", "mean", "std"):
        assert split_half_reliability(losses, CONFIG, measure) == Reliability(None, None)


def test_spearman_brown_by_hand() -> None:
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(0.2, factor=4) == pytest.approx(0.5)
    assert spearman_brown(-1.0) == -1.0


def test_draws_for_inverts_spearman_brown() -> None:
    assert draws_for(0.5, 0.2, 10) == 40
    assert draws_for(0.5, 0.21, 10) == 38  # 10 · 0.79 / 0.21 = 37.6
    assert draws_for(0.5, 0.0, 10) is None


def test_the_warning_names_only_what_is_not_set_yet() -> None:
    low = Reliability(0.11, 0.2, (0.1, 0.3))
    faithful = str(reliability_warning(low, CONFIG))
    for advice in ("scores.draws: 40", "95 % interval 24 to 90", "kl or anchor_ce", "0.20"):
        assert advice in faithful
    assert "scores.common_draws: true" in faithful
    other = ScoresConfig(loss="anchor_ce", common_draws=True)
    changed = str(reliability_warning(low, other))
    assert "scores.loss" not in changed
    assert "scores.common_draws" not in changed
    assert "scores.draws: 40" in changed


@pytest.mark.parametrize("correlation", [-0.3, 0.02, 0.6])
@pytest.mark.parametrize("number", [4, 100, 5000])
def test_the_interval_is_that_of_scipy(correlation: float, number: int) -> None:
    values = np.random.default_rng(2).standard_normal((2, number))
    both = np.linalg.qr((values - values.mean(1, keepdims=True)).T)[0].T  # uncorrelated, centred
    other = correlation * both[0] + math.sqrt(1 - correlation**2) * both[1]
    expected = pearsonr(both[0], other).confidence_interval()
    found = correlation_interval(correlation, number)
    assert found == pytest.approx((expected.low, expected.high))


def test_the_interval_holds_what_many_samples_of_images_give() -> None:
    """Images of unlike spread, ten draws: 95 % of 100 samples; 89 or more, but for 1 in 100."""
    random = np.random.default_rng(3)

    def sample(images: int) -> Reliability:
        spread = 1 + 0.3 * random.random((images, 1))
        losses = 10 + spread * random.standard_normal((images, 10))
        return split_half_reliability(losses, CONFIG)

    truth = sample(100_000).spearman_brown
    assert truth is not None
    found = [sample(300).interval for _ in range(100)]
    assert sum(bounds is not None and bounds[0] <= truth <= bounds[1] for bounds in found) >= 89


@pytest.mark.parametrize(
    ("value", "interval"),
    [
        (-0.1, (-0.2, 0.0)),
        (0.04, (-0.02, 0.1)),  # 240 draws, or 90, or any number
        (0.04, (0.005, 0.075)),  # up to 1990 draws
        (0.04, None),
    ],
)
def test_the_warning_gives_no_number_of_draws_that_the_interval_does_not_bound(
    value: float, interval: tuple[float, float] | None
) -> None:
    warning = str(reliability_warning(Reliability(value, value, interval), CONFIG))
    assert "scores.draws" not in warning
    assert ("95 % interval" in warning) == (interval is not None)
