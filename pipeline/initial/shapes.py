"""Sizes that follow from the images alone: sides, the subset's share, batches.

Rules of thumb: the search sees small copies of the images, as in the paper; the subset is their
tenth unless classes are too small for that; batches leave an epoch enough steps.
"""

import math
from statistics import median

from classification.data.datasets import MAX_BYTES
from classification.data.folder_survey import FolderSurvey
from pcdarts.network_kind import smallest_network_input
from subsample.subset_config import MIN_PER_CLASS

SEARCH_SIDE = 32  # pixels, as in the paper
_TARGET_SIDE = 64  # of a retraining that holds its images in memory
FILES_FROM = 128  # pixels, from which on images stay in their files
_IMAGENET_SIDE, _IMAGENET_FROM = 224, 200
FRACTION = 0.1  # the paper's t
KEPT_OF_MEDIAN = 10  # images of a class of middle size that a search should see at least
KEPT = 128  # and of all classes together: two batches of 32 a half
_WORTHWHILE = 0.5  # the largest fraction that saves more than it costs to choose


def fraction_of(survey: FolderSurvey) -> float:
    """The share of each class that leaves a class of middle size ten images and the search 128: a
    tenth where that does, all where it is more than half. The smallest classes keep two images."""
    counts = survey.train_counts
    least = (KEPT_OF_MEDIAN / median(counts), KEPT / sum(counts))
    fraction = max(FRACTION, math.ceil(max(least) * 100) / 100)
    return fraction if fraction <= _WORTHWHILE else 1.0


def search_side(survey: FolderSurvey) -> int:
    """The side of the images that are searched on, pixels: small copies, hardly any enlarged."""
    return min(SEARCH_SIDE, max(smallest_network_input("cifar"), survey.side(0.05)))


def target_side(survey: FolderSurvey) -> int:
    """The side of the images that the network is retrained on, pixels."""
    typical = survey.side(0.25)  # a quarter of the images are enlarged
    if typical >= _IMAGENET_FROM:
        return _IMAGENET_SIDE
    if typical >= FILES_FROM:
        return FILES_FROM
    if typical >= 1.5 * SEARCH_SIDE:
        return min(_TARGET_SIDE, typical // 8 * 8)
    return search_side(survey)


def in_memory(survey: FolderSurvey) -> tuple[int, ...]:
    """Training images of each class, cut to what fits into memory together."""
    fits = MAX_BYTES // (3 * search_side(survey) ** 2) - survey.test_images
    if survey.train_images <= fits:
        return survey.train_counts
    most = max(MIN_PER_CLASS, fits // len(survey.classes))
    return tuple(min(count, most) for count in survey.train_counts)


def batch_of(images: int, share: int, most: int) -> int:
    """A power of two: `share` of them an epoch where that leaves 32 images, `most` at most."""
    wanted = max(images // share, min(32, images))
    return min(most, 2 ** int(math.log2(max(2, wanted))))
