"""Confusion counts against scikit-learn, and what follows from them by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torch import nn

from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.world import ALONE
from evaluate.confusion import (
    Confusion,
    balanced_accuracy,
    class_errors,
    count_confusions,
    largest_confusions,
)

COUNTS = np.array([[3, 1, 0], [0, 0, 0], [2, 3, 5]])  # no image of the second class


class FirstPixels(nn.Module):
    """Predicts the class by the first pixel's channels, and reports training mode."""

    def forward(self, images):
        assert not self.training
        return images[:, :, 0, 0], None  # with an auxiliary head's output


def test_counts_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 255, (700, 3, 2, 2), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (700,), generator=generator)
    model = FirstPixels()
    images, none = ImageSet(pixels, labels), ImageSet(pixels[:0], labels[:0])
    raw = Normalization((0.0,) * 3, (1.0,) * 3)
    data = ImageDataset("random", ("a", "b", "c"), none, images, raw, crop_padding=0, flip=False)
    counts = count_confusions(model, data, device=torch.device("cpu"), world=ALONE)
    predicted = pixels[:, :, 0, 0].float().argmax(1)
    assert counts.tolist() == confusion_matrix(labels, predicted).tolist()
    assert balanced_accuracy(counts) == pytest.approx(
        100 * balanced_accuracy_score(labels, predicted)
    )
    assert model.training


def test_a_class_without_images_has_no_error_and_does_not_count():
    assert class_errors(COUNTS) == [25.0, None, 50.0]
    assert balanced_accuracy(COUNTS) == pytest.approx((75 + 50) / 2)


def test_the_largest_confusions_come_first():
    assert largest_confusions(COUNTS) == [
        Confusion(2, 1, 3, 0.3), Confusion(0, 1, 1, 0.25), Confusion(2, 0, 2, 0.2),
    ]  # fmt: skip
    assert largest_confusions(COUNTS, [0]) == [Confusion(0, 1, 1, 0.25)]
