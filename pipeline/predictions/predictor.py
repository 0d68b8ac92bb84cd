"""Classifies images with a trained network, on one device."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.folder_survey import Header
from classification.data.preprocessing import Preprocessing
from classification.progress import Progress, silent
from classification.training.step import logits_of
from classification.training.trainer import to_device
from pipeline.predictions.reading import (
    Unreadable,
    batch_size_of,
    describe_headers,
    read_batches,
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The logits of N images, float32 [N, C], and where they came from.

    `files` has an entry for each image if they were read from files, else it is empty. Files that
    could not be read are in `unreadable` and have no row; `notes` say what was done with the modes.
    """

    class_names: tuple[str, ...]
    logits: np.ndarray
    files: Sequence[Path] = ()
    unreadable: Sequence[Unreadable] = ()
    notes: Sequence[str] = field(default_factory=list)
    images_per_second: float = 0.0

    def __len__(self) -> int:
        return len(self.logits)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The softmax of the logits, float64 [N, C]."""
        powers = np.exp(
            self.logits - self.logits.max(1, keepdims=True, initial=-np.inf), dtype=float
        )
        probabilities: np.ndarray = powers / powers.sum(1, keepdims=True)
        return probabilities

    @property
    def labels(self) -> list[str]:
        """The name of each image's most probable class."""
        return [self.class_names[label] for label in self.logits.argmax(1)]

    def top(self, number: int = 5) -> list[list[tuple[str, float]]]:
        """Return the most probable classes of each image with their probabilities."""
        order = np.argsort(-self.logits, axis=1, kind="stable")[:, :number]
        return [
            [(self.class_names[label], float(row[label])) for label in labels]
            for row, labels in zip(self.probabilities, order, strict=True)
        ]


class LogitsOnly(nn.Module):
    """A `network` that returns its logits alone, in training and evaluation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, 3, S, S] to logits [N, C]."""
        return logits_of(self.network(images))


class Predictor:
    """A network on a device. Its arithmetic is that of its test: fp32 on a CPU."""

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        self.network = to_device(network, device).eval()
        self.preprocessing, self.device = preprocessing, device
        self._precision: Precision = precision if device.type == "cuda" else "fp32"

    @torch.inference_mode()
    def logits(self, pixels: Tensor) -> np.ndarray:
        """Return float32 [N, C] of uint8 images [N, 3, S, S]."""
        size = batch_size_of(self.preprocessing.image_size)
        parts = [np.empty((0, len(self.preprocessing.class_names)), np.float32)]
        for batch in pixels.split(size):
            images = self.preprocessing.normalization(batch.to(self.device))
            with autocast(self._precision, self.device):
                logits = logits_of(self.network(images)).float()
            parts.append(logits.cpu().numpy())
        return np.concatenate(parts)

    def classify(self, pixels: Tensor) -> Predictions:
        """Classify preprocessed images, uint8 [N, 3, S, S]."""
        return Predictions(self.preprocessing.class_names, self.logits(pixels))

    def classify_files(
        self,
        files: Sequence[Path],
        progress: Progress = silent,
        *,
        skip_unreadable: bool = False,
    ) -> Predictions:
        """Read and classify image files; the rows are in their order.

        With `skip_unreadable` an unreadable file has no row; else the first raises DataError.
        """
        begin, done, rate = time.monotonic(), 0, 0.0
        rows, unreadable = list[int](), list[Unreadable]()
        logits, headers = list[np.ndarray](), Counter[Header]()
        for batch in read_batches(files, self.preprocessing, skip_unreadable):
            rows += batch.rows
            logits.append(self.logits(batch.pixels))
            unreadable += [Unreadable(files[row], reason) for row, reason in batch.unreadable]
            headers.update(replace(header, size=(0, 0)) for header in batch.headers)
            done += len(batch.rows) + len(batch.unreadable)
            rate = done / max(time.monotonic() - begin, 1e-9)
            progress(done, len(files), "image", images_per_second=rate)
        return Predictions(
            self.preprocessing.class_names,
            np.concatenate(logits),
            [files[row] for row in rows],
            unreadable,
            describe_headers(headers, self.preprocessing),
            rate,
        )
