"""Confusion matrix of a classifier, its errors by class and its balanced accuracy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classification.acceleration import Precision, autocast
from classification.data.datasets import ImageDataset
from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_json
from classification.training.step import logits_of
from classification.training.trainer import evaluating
from classification.world import ALONE, World

Counts = NDArray[np.integer]
"""Images by true class (rows) and predicted class (columns), [C, C]."""

CONFUSION = "confusion.json"
_BATCH = 256


@torch.no_grad()
def count_confusions(
    model: nn.Module,
    dataset: ImageDataset,
    *,
    device: torch.device,
    world: World = ALONE,
    precision: Precision = "fp32",
) -> Counts:
    """Count the test images by true and predicted class, int64 [C, C]; `model` is on `device`.

    Each process of `world` classifies its part; the result is that of all images.
    """
    num_classes = dataset.num_classes
    loader = dataset.test.loader(_BATCH, device, training=False, world=world)
    counts = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)
    with evaluating(model):
        for batch, labels in loader.batches():
            if not loader.sharded:
                batch, labels = world.local_batch(batch), world.local_batch(labels)
            with autocast(precision, device):
                predicted = logits_of(model(dataset.normalization(batch))).argmax(1)
            pairs = labels * num_classes + predicted
            counts += pairs.bincount(minlength=len(counts))
    return world.sum(counts).view(num_classes, num_classes).cpu().numpy()


def save_confusions(counts: Counts, path: Path) -> None:
    """Write the counts as JSON, a list of rows."""
    write_atomically(path, json.dumps(counts.tolist()) + "\n")


def read_confusions(path: Path) -> Counts:
    """Read what `save_confusions` wrote. Raises ArtifactError, naming the file, if it is none."""
    rows = read_json(path)
    try:
        counts = np.asarray(rows)
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged; not a table of numbers") from error
    if counts.dtype.kind != "i" or counts.ndim != 2 or len(counts) != counts.shape[1]:
        raise ArtifactError(f"{path}: damaged; not a square table of counts")
    return counts


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
