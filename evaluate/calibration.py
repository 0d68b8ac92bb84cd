"""Calibration of a classifier: how far its confidence is from its accuracy."""

from dataclasses import dataclass

import numpy as np

NUM_BINS = 15  # Guo et al. 2017


@dataclass(frozen=True)
class Bin:
    """Images whose confidence is above `low` and at most `high`."""

    low: float
    high: float
    images: int
    confidence: float
    """Mean; 0 without images."""
    accuracy: float
    """Share classified correctly; 0 without images."""


def calibration_bins(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """Return NUM_BINS bins of equal width over the confidence in [0, 1] (Guo et al. 2017).

    confidence: [N], the largest probability of each image; correct: bool [N].
    """
    places = np.ceil(confidence * NUM_BINS).astype(int).clip(1, NUM_BINS) - 1
    images = np.bincount(places, minlength=NUM_BINS)
    sums = (np.bincount(places, weights, NUM_BINS) for weights in (confidence, correct))
    means = [total / np.maximum(images, 1) for total in sums]
    return [
        Bin(place / NUM_BINS, (place + 1) / NUM_BINS, int(count), float(mean), float(share))
        for place, (count, mean, share) in enumerate(zip(images, *means, strict=True))
    ]


def calibration_error(bins: list[Bin]) -> float:
    """Return the expected calibration error in [0, 1]: the mean over images of the distance between
    their bin's confidence and accuracy (Naeini et al. 2015; Guo et al. 2017, Eq. 3)."""
    images = sum(each.images for each in bins)
    return sum(each.images * abs(each.confidence - each.accuracy) for each in bins) / images
