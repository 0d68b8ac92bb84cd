"""Confusion matrix of a classifier, its errors by class and its balanced accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.loaders import Images
from classification.distributed import World
from classification.training.step import logits_of
from classification.training.trainer import evaluating

Counts = NDArray[np.integer]
"""Images by true class (rows) and predicted class (columns), [C, C]."""

_BATCH = 256


@torch.no_grad()
def count_confusions(
    model: nn.Module,
    images: Images,
    normalize: Callable[[Tensor], Tensor],
    num_classes: int,
    *,
    device: torch.device,
    world: World,
    precision: Precision = "fp32",
) -> Counts:
    """Count the images by true and predicted class, int64 [C, C]; `model` is on `device`.

    Each process of `world` classifies its part; the result is that of all images.
    """
    loader = images.loader(_BATCH, device, training=False, world=world)
    counts = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
    with evaluating(model):
        for batch, labels in loader.batches():
            if not loader.sharded:
                batch, labels = world.local_batch(batch), world.local_batch(labels)
            with autocast(precision, device):
                predicted = logits_of(model(normalize(batch))).argmax(1)
            pairs = labels * num_classes + predicted
            counts += pairs.bincount(minlength=len(counts))
    return world.sum(counts).view(num_classes, num_classes).cpu().numpy()


def class_errors(counts: Counts) -> list[float | None]:
    """Return each class's top-1 error in percent; None for a class without images."""
    return [
        None if not images else float(100 * (1 - right / images))
        for right, images in zip(counts.diagonal(), counts.sum(1), strict=True)
    ]


def balanced_accuracy(counts: Counts) -> float:
    """Return the mean over classes of the share recognised, in percent (Brodersen et al. 2010).

    Classes without images do not count.
    """
    errors = [error for error in class_errors(counts) if error is not None]
    return 100 - sum(errors) / len(errors)


@dataclass(frozen=True)
class Confusion:
    """Images of class `true` that were taken for class `predicted`."""

    true: int
    predicted: int
    images: int
    share: float
    """Of the images of class `true`."""


def largest_confusions(counts: Counts, rows: Sequence[int] | None = None) -> list[Confusion]:
    """Return the confusions of the classes `rows`, or of all, by their share, the largest first."""
    found = [
        Confusion(true, int(predicted), int(counts[true, predicted]), float(share))
        for true in (range(len(counts)) if rows is None else rows)
        for predicted in np.flatnonzero(counts[true])
        if predicted != true
        for share in [counts[true, predicted] / counts[true].sum()]
    ]
    return sorted(found, key=lambda each: (-each.share, each.true, each.predicted))
