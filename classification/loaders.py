"""Batches of (uint8 images, labels) on the training device."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


class Loader(Protocol):
    """A source of batches; `len` is the number of batches an epoch."""

    num_images: int

    def __len__(self) -> int: ...

    def epoch(self, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """(images uint8 [B, 3, H, W], labels int64 [B]) on the device, in the generator's order.

        Without a generator the order is the dataset's own.
        """


class DeviceLoader:
    """Images that live on the device as one tensor; a batch is a gather.

    The last batch may be smaller, but never a single image of a larger set: a batch of one has no
    statistics for BatchNorm over 1×1 maps, so that image waits for the next epoch's shuffle.
    """

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.num_images = len(labels)

    def __len__(self) -> int:
        return sum(1 for _ in self._starts(shuffled=True))

    def epoch(self, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """One pass; `generator` is a CPU generator that orders it, or None for dataset order."""
        if generator is None:
            for start in self._starts(shuffled=False):
                end = start + self.batch_size
                yield self.images[start:end], self.labels[start:end]
            return
        for batch in self.batches(generator):
            yield self.images[batch], self.labels[batch]

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The batches of one pass as rows of `images`, int64 [B] on the device."""
        order = torch.randperm(self.num_images, generator=generator)
        if self.images.is_cuda:
            order = order.pin_memory().to(self.images.device, non_blocking=True)
        for start in self._starts(shuffled=True):
            yield order[start : start + self.batch_size]

    def _starts(self, shuffled: bool) -> range:
        single = shuffled and self.num_images > 1 and self.num_images % self.batch_size == 1
        return range(
            0, self.num_images - (1 if single and self.batch_size > 1 else 0), self.batch_size
        )
