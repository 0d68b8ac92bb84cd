"""Images too large or too many to hold: paths, decoded by worker processes batch by batch."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from classification.folders import read_image
from classification.loaders import Batch, batch_starts
from classification.seeding import derive_seed
from classification.transforms import Normalization
from classification.world import ALONE, World

# Of ImageNet's training images, as torchvision's models assume.
IMAGENET_NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RESIZE = 256 / 224  # the shorter side before the centre crop, by the side of the crop
_JITTER = 0.4  # brightness, contrast and saturation, as in the DARTS family's ImageNet recipe
_PREFETCHED = 4  # batches a worker


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One split of an image folder. `paths` are relative to `root`; labels int64 [N]."""

    root: Path
    paths: tuple[Path, ...]
    labels: Tensor
    image_size: int
    workers: int
    flip: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Tensor) -> "ImageFiles":
        """The files at `indices`, int64 [n], in that order."""
        paths = tuple(self.paths[i] for i in indices.tolist())
        return replace(self, paths=paths, labels=self.labels[indices])

    def loader(
        self, batch_size: int, device: torch.device, training: bool, world: World = ALONE
    ) -> "FileLoader":
        """Batches for training (random resized crop, flip, colour jitter) or evaluation."""
        return FileLoader(self, batch_size, device, training, world)

    def digest(self) -> str:
        """SHA-256, in hex, over names, sizes in bytes and labels; reading every byte of ImageNet
        would take longer than many a stage. `image_size` counts, since it decides the pixels.
        """
        digest = hashlib.sha256(f"{self.image_size}\n".encode())
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            size = (self.root / path).stat().st_size
            digest.update(f"{path.as_posix()}\t{size}\t{label}\n".encode())
        return digest.hexdigest()


class FileLoader:
    """Decodes in worker processes; what reaches the device is a uint8 batch [B, 3, S, S].

    What becomes of an image in an epoch follows from the epoch's generator and the image's index,
    whatever the number of workers.
    """

    sharded = True

    def __init__(
        self,
        files: ImageFiles,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
    ) -> None:
        self.files, self.batch_size, self.device = files, batch_size, device
        self.training, self._world = training, world
        self.num_images = len(files)

    def __len__(self) -> int:
        return len(batch_starts(self.num_images, self.batch_size, self.training, self._world))

    def epoch(self, generator: torch.Generator | None = None, first: int = 0) -> Iterator[Batch]:
        """One pass; `generator` is a CPU generator that orders it, or None for the files' order."""
        if generator is None:
            seed, order = 0, torch.arange(self.num_images)
        else:
            seed = generator.initial_seed()
            order = torch.randperm(self.num_images, generator=generator)
        batches = order.split(self.batch_size)[first : len(self)]
        workers = self.files.workers
        loader = DataLoader(
            _Decoded(self.files, self.training, seed),
            batch_sampler=[self._world.share(batch).tolist() for batch in batches],
            num_workers=workers,
            # A forked child inherits the locks of threads it does not have, and may wait forever.
            multiprocessing_context="forkserver" if workers else None,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=_PREFETCHED if workers else None,
        )
        for images, labels in loader:
            yield (
                images.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
            )

    def handles(self, generator: torch.Generator, first: int = 0) -> Iterator[Batch]:
        """The batches themselves, on the device."""
        return self.epoch(generator, first)

    def gather(self, *handle: Tensor) -> Batch:
        """The batch that is the handle."""
        images, labels = handle
        return images, labels


def default_workers() -> int:
    """A worker for every core but the one that feeds the device, at most 16."""
    return max(1, min(16, (os.cpu_count() or 2) - 1))


class _Decoded(Dataset[tuple[Tensor, Tensor]]):
    """Decoded and cropped images; what is random follows from (seed, index)."""

    def __init__(self, files: ImageFiles, training: bool, seed: int) -> None:
        self._files, self._seed = files, seed
        size = files.image_size
        # A JPEG is decoded at a fraction of its size where that leaves this many pixels.
        self._sufficient = round(size * _RESIZE)
        crop: list[v2.Transform] = (
            [
                v2.RandomResizedCrop(size, antialias=True),
                v2.RandomHorizontalFlip(0.5 if files.flip else 0.0),
                v2.ColorJitter(_JITTER, _JITTER, _JITTER),
            ]
            if training
            else [v2.Resize(self._sufficient, antialias=True), v2.CenterCrop(size)]
        )
        self._transform = v2.Compose([*crop, v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = read_image(self._files.root / self._files.paths[index], self._sufficient)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._seed, "image", index))
            return self._transform(image), self._files.labels[index]
