"""Agreement of two rankings and of two subsets, and properties of a subset.

Labels are integers [n]; arrays may be numpy's or torch's, on any device.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

Array = np.ndarray | Tensor
_EXACT = "donot_use_mm_for_euclid_dist"  # so that copies are at a distance of 0


def rank_agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two measures [N] of the same images, -1 to 1.

    None if it is undefined: one measure is constant, or there are fewer than two images.
    Raises ValueError unless both are [N].
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"measures {first.shape} and {second.shape}; allowed: both [N]")
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of the smaller set of indices that is also in the other, 0 to 1.

    Two random subsets of fraction t share t of their images. Raises ValueError if a set is empty.
    """
    sets = np.unique(first), np.unique(second)
    smaller = min(map(len, sets))
    if not smaller:
        raise ValueError(f"subsets of {len(first)} and {len(second)} images; allowed: at least 1")
    return len(np.intersect1d(*sets, assume_unique=True)) / smaller


def diversity(features: Array, labels: Array) -> float:
    """Return the mean over the classes of the mean distance of two images of a class, 0 to 2.

    The distance is Euclidean between `features` [n, D] of length 1, so the strength of an image's
    activation has no effect. All classes have the same weight; those of fewer than two images are
    left out. Memory grows with the square of the largest class.

    Raises ValueError if no class has two images, or unless each feature has a label.
    """
    points, classes = _aligned(features, labels)
    points = F.normalize(points.double(), dim=1)
    means = [
        torch.pdist(points[classes == label]).mean()
        for label, count in zip(*classes.unique(return_counts=True), strict=True)
        if count > 1
    ]
    if not means:
        raise ValueError(
            f"{len(points)} images, no two of the same class; allowed: a class of at least 2"
        )
    return float(torch.stack(means).mean())


def near_duplicate_share(features: Array, labels: Array, kept: np.ndarray) -> float | None:
    """Return the share of the images `kept` that have another kept image of their class closer than
    half of the class's images have any, 0 to 1.

    `features` [N, D] and `labels` [N] are of all images, and distances as in `diversity`: a kept
    image's to the nearest other kept one of its class is compared with the median over the class of
    the distance to the nearest other image of the class. If all are kept, it is about a half. None
    if no class keeps two images. Memory grows with the square of the largest class.

    Raises ValueError unless each feature has a label.
    """
    points, classes = _aligned(features, labels)
    points = F.normalize(points.double(), dim=1)
    chosen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    chosen[_tensor(kept).to(points.device, torch.int64)] = True
    near, several = 0, False
    for label in classes[chosen].unique():
        rows = classes == label
        own_rows = points[rows]
        apart = torch.cdist(own_rows, own_rows, compute_mode=_EXACT).fill_diagonal_(torch.inf)
        own = apart[chosen[rows]][:, chosen[rows]]
        if len(own) > 1:
            near += int((own.amin(1) < apart.amin(1).median()).sum())
            several = True
    return near / int(chosen.sum()) if several else None


def confused_share(logits: Array, labels: Array) -> float:
    """Return the share of images whose highest of `logits` [n, L] is not their label, 0 to 1.

    Raises ValueError if there are no images, or unless each image has a label.
    """
    scores, classes = _aligned(logits, labels)
    if not len(scores):
        raise ValueError("no images; allowed: at least 1")
    return float((scores.argmax(1) != classes).double().mean())


def confusion_concentration(logits: Array, labels: Array) -> float | None:
    """Return how concentrated the errors are: the probability that two misclassified images, drawn
    without replacement, have the same label and the same prediction (Simpson 1949).

    With c_p images of confusion p, W in total: Σ c_p · (c_p - 1) / (W · (W - 1)). It is 1 if all
    errors are one confusion, 1 / (L · (L - 1)) on average if they are spread evenly, and unbiased
    for any number of errors (the share of the most common confusions is not). None below 2 errors.

    Raises ValueError unless there is a label for each image of `logits` [n, L].
    """
    scores, classes = _aligned(logits, labels)
    predicted = scores.argmax(1) if len(scores) else classes
    wrong = predicted != classes
    num_wrong = int(wrong.sum())
    if num_wrong < 2:
        return None
    pairs = classes[wrong] * scores.shape[1] + predicted[wrong]
    counts = pairs.unique(return_counts=True)[1]
    return int((counts * (counts - 1)).sum()) / (num_wrong * (num_wrong - 1))


def _aligned(rows: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """Return both as tensors on the rows' device, labels in int64."""
    values = _tensor(rows)
    classes = _tensor(labels).to(values.device, torch.int64)
    if values.ndim != 2 or classes.shape != values.shape[:1]:
        raise ValueError(
            f"rows {tuple(values.shape)} and labels {tuple(classes.shape)}; allowed: [n, …] and [n]"
        )
    return values, classes


def _tensor(array: Array) -> Tensor:
    # Copied: torch warns about read-only memory-mapped arrays.
    return array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
