"""Batches of (uint8 images, labels) on the training device."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from classification.distributed import ALONE, World

Batch = tuple[Tensor, Tensor]


class Loader(Protocol):
    """A source of batches; `len` is the number of batches an epoch.

    `sharded` says whether a batch is this process's share of one of `batch_size` images already,
    or the whole of it, of which every process then takes its share once it is augmented and mixed.
    """

    num_images: int
    batch_size: int
    sharded: bool

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Files of this process's share for which other images have stood in so far."""

    def __len__(self) -> int: ...

    def epoch(self, generator: torch.Generator | None = None, first: int = 0) -> Iterator[Batch]:
        """(images uint8 [B, 3, H, W], labels int64 [B]) on the device, in the generator's order.

        Without a generator the order is the dataset's own. Begins with batch number `first`.
        """

    def handles(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """As `epoch`, of what `gather` makes the batches from, on the device."""

    def gather(self, *handle: Tensor) -> Batch:
        """The batch of one of `handles`. Never waits for the device, so that it can be captured."""


class DeviceLoader:
    """Images that live on the device as one tensor; a batch is a gather.

    The last batch may be smaller, but never a single image of a larger set: a batch of one has no
    statistics for BatchNorm over 1×1 maps, so that image waits for the next epoch's shuffle.
    """

    sharded = False
    unreadable: tuple[Path, ...] = ()

    def __init__(
        self, images: Tensor, labels: Tensor, batch_size: int, world: World = ALONE
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.num_images, self._world = len(labels), world

    def __len__(self) -> int:
        return len(self._starts(shuffled=True))

    def epoch(self, generator: torch.Generator | None = None, first: int = 0) -> Iterator[Batch]:
        """One pass; `generator` is a CPU generator that orders it, or None for dataset order."""
        if generator is None:
            for start in self._starts(shuffled=False)[first:]:
                end = start + self.batch_size
                yield self.images[start:end], self.labels[start:end]
            return
        for (batch,) in self.handles(generator, first):
            yield self.gather(batch)

    def handles(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor]]:
        """The batches of one pass as rows of `images`, int64 [B] on the device."""
        order = torch.randperm(self.num_images, generator=generator)
        if self.images.is_cuda:
            order = order.pin_memory().to(self.images.device, non_blocking=True)
        for start in self._starts(shuffled=True)[first:]:
            yield (order[start : start + self.batch_size],)

    def gather(self, *handle: Tensor) -> Batch:
        """The images and labels of the rows [B]."""
        (rows,) = handle
        return self.images[rows], self.labels[rows]

    def _starts(self, shuffled: bool) -> range:
        return batch_starts(self.num_images, self.batch_size, shuffled, self._world)


def batch_images(loader: Loader, index: int) -> int:
    """How many images batch number `index` of an epoch has, over all processes."""
    return min(loader.batch_size, loader.num_images - index * loader.batch_size)


def batch_starts(num_images: int, batch_size: int, training: bool, world: World = ALONE) -> range:
    """Where the batches of an epoch begin.

    In training a last batch that would leave a process without an image, or all with a single one
    between them, is left out unless it is the only one.
    """
    full, rest = divmod(num_images, batch_size)
    stray = training and full > 0 and 0 < rest < max(2, world.size)
    return range(0, full * batch_size if stray else num_images, batch_size)


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
        self, batch_size: int, device: torch.device, training: bool, world: World = ALONE
    ) -> Loader:
        """Batches on `device`, of `batch_size` images over all processes of `world`."""

    def digest(self) -> str:
        """SHA-256, in hex, of what tells these images from others."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square RGB images, uint8 [N, 3, H, H], and their class indices, int64 [N]."""

    images: Tensor
    labels: Tensor

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
        self, batch_size: int, device: torch.device, training: bool, world: World = ALONE
    ) -> DeviceLoader:
        """Batches gathered from one tensor on `device`; `training` changes nothing here."""
        here = self.to(device)
        return DeviceLoader(here.images, here.labels, batch_size, world)

    def digest(self) -> str:
        """SHA-256, in hex, over shape, pixels and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()
