"""Batches of (uint8 images, labels) on the training device."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from classification.data.strata import class_aware_order
from classification.world import ALONE, World

Batch = tuple[Tensor, Tensor]


class Loader(ABC):
    """A source of batches; `len` is the number of batches in one pass over the images.

    A pass for training is shuffled by a generator, and a last batch that would leave a process
    without an image, or all processes with a single one between them, is left out unless it is the
    only one: BatchNorm over 1×1 maps has no statistics of one image. A pass for evaluation takes
    all images in the dataset's order. If `balanced`, a pass for training shows as many images of
    each class (see `class_aware_order`).

    `sharded` says whether a batch is the local batch of this process already, or the global one, of
    which every process takes its part once it is augmented and mixed.
    """

    sharded: ClassVar[bool]

    def __init__(
        self, labels: Tensor, batch_size: int, training: bool, world: World, balanced: bool
    ) -> None:
        self.labels, self.num_images, self.batch_size = labels, len(labels), batch_size
        self.training, self.world, self.balanced = training, world, balanced

    def __len__(self) -> int:
        full, rest = divmod(self.num_images, self.batch_size)
        stray = self.training and full > 0 and rest < max(2, self.world.size)
        return full + (rest > 0 and not stray)

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Files that this process could not read so far, each replaced by another image."""
        return ()

    @abstractmethod
    def index_batches(
        self, generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Tensor, ...]]:
        """What identifies each batch of one pass, on the device, from batch number `first` on.

        `generator` is a CPU generator that orders a pass for training; evaluation takes None.
        """

    @abstractmethod
    def load(self, *index: Tensor) -> Batch:
        """(images uint8 [B, 3, H, W], labels int64 [B]) on the device, of one of `index_batches`.

        Never waits for the device, so that it can be captured in a CUDA graph.
        """

    def batches(self, generator: torch.Generator | None = None, first: int = 0) -> Iterator[Batch]:
        """The batches of one pass, each of `index_batches` loaded in turn."""
        with closing(self.index_batches(generator, first)) as indices:  # type: ignore[type-var]
            for index in indices:
                yield self.load(*index)

    def global_batch(self, number: int) -> int:
        """How many images batch `number` of a pass has, over all processes."""
        return min(self.batch_size, self.num_images - number * self.batch_size)

    def _rows(self, generator: torch.Generator | None) -> Tensor:
        """The order of one pass, int64 [N]."""
        if self.training:
            assert generator is not None, "a pass for training is ordered by a generator"
            if self.balanced:
                return class_aware_order(self.labels.cpu(), generator)
            return torch.randperm(self.num_images, generator=generator)
        assert generator is None, "a pass for evaluation has the dataset's order"
        return torch.arange(self.num_images)


class DeviceLoader(Loader):
    """Images that are held on the device as one tensor; a batch is a gather of its rows."""

    sharded = False

    def __init__(
        self,
        images: "ImageSet",
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> None:
        super().__init__(images.labels, batch_size, training, world, balanced)
        self._images = images.to(device)

    def index_batches(
        self, generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Tensor]]:
        """The rows of each batch, int64 [B] on the device."""
        rows, device = self._rows(generator), self._images.labels.device
        if device.type == "cuda":
            rows = rows.pin_memory().to(device, non_blocking=True)
        for batch in rows.split(self.batch_size)[first : len(self)]:
            yield (batch,)

    def load(self, *index: Tensor) -> Batch:
        """The images and labels of the rows [B]."""
        (rows,) = index
        return self._images.images[rows], self._images.labels[rows]


class Images(Protocol):
    """Square RGB images and their class indices, in memory (ImageSet) or in files (ImageFiles)."""

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 [N]."""

    @property
    def image_size(self) -> int:
        """Side, pixels."""

    def __len__(self) -> int: ...

    def take(self, indices: Tensor) -> "Images":
        """The images at `indices`, int64 [n], in that order."""

    def loader(
        self,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> Loader:
        """Batches for training or evaluation on `device`, of `batch_size` over all of `world`."""

    def digest(self) -> str:
        """SHA-256, in hex, of what tells these images from others."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square RGB images, uint8 [N, 3, H, H], and their class indices, int64 [N]."""

    images: Tensor
    labels: Tensor
    known_digest: str | None = field(default=None, kw_only=True)  # what `digest` has returned

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.images.shape[-1]

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "ImageSet":
        """The images at `indices`, int64 [n], in that order."""
        indices = indices.to(self.labels.device)
        return ImageSet(self.images[indices], self.labels[indices])

    def loader(
        self,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> DeviceLoader:
        """Batches gathered from one tensor on `device`."""
        return DeviceLoader(self, batch_size, device, training, world, balanced)

    def digest(self) -> str:
        """SHA-256, in hex, over shape, pixels and labels."""
        if self.known_digest is not None:
            return self.known_digest
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()
