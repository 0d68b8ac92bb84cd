"""Orders of images that are not simply those of a measure: stratified, or drawn by entropy.

An order is a list of which any beginning can be kept: the smaller subset is a part of the larger.
"""

from collections.abc import Mapping

import numpy as np
import torch

from classification.errors import ConfigError
from subsample.measures import PROBABILITIES, Order, StratificationConfig
from subsample.subset_config import SelectionConfig

_LEAST = float(np.finfo(np.float32).tiny)  # of an entropy, whose logarithm must be finite


def stratified_order(
    values: np.ndarray, config: StratificationConfig, generator: torch.Generator
) -> np.ndarray:
    """Return the order of coverage-centric coreset selection, int64 [n] (CCS).

    Zheng et al. 2023: of `values` [n], of which the hardest image has the highest, the
    hardest floor(β · n) are cut; the range of the others is divided into strata of equal width;
    each stratum gives equally many images, drawn at random, and those of a stratum that has fewer
    are divided among the larger ones. The first m images are those that the algorithm chooses for a
    budget of m: its strata take turns, the largest first, which gets what is left over by a
    division. The images that were cut come last, the easiest of them first.
    """
    hardest = np.argsort(-values, kind="stable")
    cut = int(config.beta * len(values))
    rest, cut_off = hardest[cut:], hardest[:cut][::-1]
    rest = rest[torch.randperm(len(rest), generator=generator).numpy()]
    stratum = _strata(values[rest], config.strata)
    sizes = np.bincount(stratum, minlength=config.strata)
    by_stratum = np.argsort(stratum, kind="stable")
    first = np.cumsum(sizes) - sizes
    turn = np.empty(len(rest), np.int64)  # each image's place in its stratum
    turn[by_stratum] = np.arange(len(rest)) - first[stratum[by_stratum]]
    return np.concatenate([rest[np.lexsort((stratum, -sizes[stratum], turn))], cut_off])


def entropy_probabilities(entropies: np.ndarray, order: Order, width: float) -> np.ndarray:
    """Return the probability of each image to be drawn first, float64 [N] (Na et al. 2021).

    The histogram of log10 of `entropies` [N], in nats or any other unit, has bins of `width`. With
    h images in an image's bin, and H in the largest, its probability is in proportion to
    (H - h + 1) / h (p1), to 1 / h (p2: all bins are equally likely), or to 1 / h² (p3); all three
    prefer both ends of the histogram to its middle. Bins begin at multiples of the width. Theirs
    begin at an integer and multiples of the width before and after it, which is the same for the
    widths in their code (0.5, 0.25, 0.2).
    """
    bins = np.floor(np.log10(np.maximum(entropies, _LEAST)) / width)
    _, places, counts = np.unique(bins, return_inverse=True, return_counts=True)
    heights = counts[places].astype(np.float64)
    weights = {
        "p1": (heights.max() - heights + 1) / heights,
        "p2": 1 / heights,
        "p3": 1 / heights**2,
    }[order]
    return weights / weights.sum()


def drawn_order(
    entropies: np.ndarray, order: Order, width: float, generator: torch.Generator
) -> np.ndarray:
    """Return all images in the order in which they are drawn one by one, without replacement.

    With exponential e_i, sorting by e_i / p_i is such a draw (Efraimidis & Spirakis 2006), also
    within each class.
    """
    probabilities = entropy_probabilities(entropies, order, width)
    uniform = torch.rand(len(entropies), generator=generator, dtype=torch.float64).numpy()
    return np.argsort(-np.log1p(-uniform) / probabilities, kind="stable")


def check_order(
    config: SelectionConfig, counts: Mapping[str, int], values: np.ndarray | None
) -> None:
    """Raise ConfigError if the order cannot be made of classes of `counts` images, or of `values`
    from a file, None if they are not measured yet.
    """
    if config.order in PROBABILITIES and values is not None and (values < 0).any():
        place = int(np.argmax(values < 0))
        raise ConfigError(
            f"subset.order: found {config.order}, but scores.file has {values[place]:g} for image "
            f"{place}; allowed: entropies, at least 0"
        )
    if config.order != "ccs":
        return
    name = min(counts, key=lambda each: counts[each])
    kept = sum(config.num_in_parts(counts[name]))
    if config.ccs.strata > kept:
        raise ConfigError(
            f"subset.ccs.strata: found {config.ccs.strata}, more than the {kept} images of class "
            f"{name} that are kept, so that whole strata would give none; allowed: at most {kept}"
        )


def _strata(values: np.ndarray, number: int) -> np.ndarray:
    """Return the stratum of each of `values` [n], int64, 0 to number - 1."""
    halves = np.asarray(values, np.float64) / 2  # so that no difference overflows
    low, high = halves.min(), halves.max()
    if low == high:
        return np.zeros(len(values), np.int64)
    return np.minimum(((halves - low) / (high - low) * number).astype(np.int64), number - 1)
