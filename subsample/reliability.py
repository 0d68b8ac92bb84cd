"""Split-half reliability: the agreement of a ranking with itself over other draws.

The M draws are cut at random into two halves, the images ranked by each, and the two rankings
compared (split-half method; Spearman 1910, Brown 1910).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import norm, spearmanr

from classification.seeding import make_generator
from subsample.config import LossesConfig, ScoresConfig
from subsample.uncertainty import summarise

ENOUGH = 0.5  # reliability under which a ranking is more noise than signal
_HALVINGS = 10  # random ways to halve the draws, averaged
_MAX_DRAWS = 1000  # more draws than this is no advice


@dataclass(frozen=True)
class Reliability:
    """Mean Spearman correlation between rankings by half the draws each, and by Spearman-Brown
    the correlation between two rankings by all M draws each. None where neither can be known:
    under too few draws, or where all images measure the same.
    """

    correlation: float | None
    spearman_brown: float | None
    interval: tuple[float, float] | None = None
    """Of `spearman_brown`: 95 % over images as independent samples, these draws given."""


def split_half_reliability(
    losses: np.ndarray,
    config: LossesConfig,
    measure: Literal["cv", "mean", "std"] = "cv",
    seed: int = 0,
) -> Reliability:
    """Reliability of the ranking by `measure` over `losses` [N, M].

    Halves are equal: of an odd number of draws, one sits out. cv and std take two draws a half, so
    M ≥ 4; the mean takes M ≥ 2. Under common draws the figure holds for these draws' kind only: it
    says how alike two such rankings are, not how alike one is to a ranking by independent draws.
    """
    num_images, draws = losses.shape
    half = draws // 2
    if half < (1 if measure == "mean" else 2) or num_images < 2:
        return Reliability(None, None)
    generator = make_generator(seed, "halvings")
    correlations = []
    for _ in range(_HALVINGS):
        order = torch.randperm(draws, generator=generator).numpy()
        first = _measure(losses[:, order[:half]], config, measure)
        second = _measure(losses[:, order[half : 2 * half]], config, measure)
        if np.ptp(first) > 0 and np.ptp(second) > 0:
            correlations.append(float(spearmanr(first, second).statistic))
    if not correlations:
        return Reliability(None, None)
    correlation = sum(correlations) / len(correlations)
    bounds = correlation_interval(correlation, num_images)
    interval = None if bounds is None else (spearman_brown(bounds[0]), spearman_brown(bounds[1]))
    return Reliability(correlation, spearman_brown(correlation), interval)


def correlation_interval(correlation: float, number: int) -> tuple[float, float] | None:
    """Fisher's 95 % interval of a correlation of `number` pairs (Fisher 1921); None under four."""
    if number < 4:
        return None
    middle = math.atanh(min(max(correlation, -1 + 1e-12), 1 - 1e-12))
    half = float(norm.ppf(0.975)) / math.sqrt(number - 3)
    return math.tanh(middle - half), math.tanh(middle + half)


def spearman_brown(correlation: float, factor: float = 2.0) -> float:
    """Correlation to expect with `factor` times the draws; a negative one, chance, stays as it is.

    n·r / (1 + (n - 1)·r).
    """
    if correlation <= 0:
        return correlation
    return factor * correlation / (1 + (factor - 1) * correlation)


def draws_for(target: float, reliability: float, draws: int) -> int | None:
    """Draws that reach `target`, by the Spearman-Brown formula from `reliability` at `draws`.

    None if no number does.
    """
    if reliability <= 0:
        return None
    factor = target * (1 - reliability) / (reliability * (1 - target))
    return math.ceil(draws * factor - 1e-9)


def reliability_warning(reliability: Reliability, config: LossesConfig) -> str | None:
    """One line if the ranking by all draws agrees with itself less than ENOUGH, or None.

    It says what would raise the agreement (a number of draws only with its interval), and that a
    more repeatable ranking need not be a more useful one.
    """
    value = reliability.spearman_brown
    if value is None:
        return (
            f"scores.draws: the ranking's reliability cannot be told from {config.draws} draws of "
            "these images; at least 4 draws and losses that differ are needed"
        )
    if value >= ENOUGH:
        return None
    advice = []
    if (needed := _advised_draws(reliability, config.draws)) is not None:
        least, middle, most = needed
        advice.append(
            f"scores.draws: {middle} (by the Spearman-Brown formula; 95 % interval {least} to "
            f"{most})"
        )
    known = reliability.interval
    interval = "" if known is None else f" (95 % interval {known[0]:.2f} to {known[1]:.2f})"
    measured = config.source == "pass"  # a record has neither anchor_ce nor common draws
    if config.loss == "ce":
        advice.append("scores.loss: kl or anchor_ce" if measured else "scores.loss: kl")
    elif config.loss == "kl" and measured:
        advice.append("scores.loss: anchor_ce")
    if measured and isinstance(config, ScoresConfig) and not config.common_draws:
        advice.append("scores.common_draws: true")
    raised = f"; {', '.join(advice)} would raise it" if advice else ""
    return (
        f"scores: the ranking's reliability is {value:.2f}{interval} with {config.draws} draws, "
        f"under {ENOUGH}, so it is mostly chance{raised}; a more repeatable ranking is not by "
        "itself a more useful one: compare networks trained on the subsets"
    )


def _advised_draws(reliability: Reliability, draws: int) -> tuple[int, int, int] | None:
    """Draws that reach ENOUGH: the fewest, the expected and the most by the interval.

    None where the interval bounds them by nothing, or by too many draws to advise.
    """
    if reliability.interval is None or reliability.spearman_brown is None:
        return None
    low, high = reliability.interval
    most = draws_for(ENOUGH, low, draws)
    middle, least = (draws_for(ENOUGH, each, draws) for each in (reliability.spearman_brown, high))
    if most is None or middle is None or least is None or most > _MAX_DRAWS:
        return None
    return least, middle, most


def _measure(losses: np.ndarray, config: LossesConfig, measure: str) -> np.ndarray:
    if measure == "mean":
        return losses.mean(1, dtype=np.float64)
    scores = summarise(losses, config)
    return scores.cv if measure == "cv" else scores.std
