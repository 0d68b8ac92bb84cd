"""One split's images in memory, and what any split of a dataset can do."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from classification.loaders import DeviceLoader, Loader
from classification.world import ALONE, World


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
