"""Images too large or too many to hold: paths, decoded by worker processes batch by batch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from classification.errors import DataError
from classification.loaders import Batch
from classification.seeding import derive_seed

_RESIZE = 256 / 224  # of the shorter side before the centre crop in evaluation
_JITTER = 0.4  # brightness, contrast and saturation, as in the DARTS ImageNet recipe


@dataclass(frozen=True)
class ImageFiles:
    """One split of an image folder. `paths` are relative to `root`; labels int64 [N]."""

    root: Path
    paths: tuple[str, ...]
    labels: Tensor
    image_size: int
    workers: int

    def __len__(self) -> int:
        return len(self.paths)

    def to(self, device: torch.device) -> "ImageFiles":
        """Files stay where they are; batches go to the device."""
        return self

    def take(self, indices: Sequence[int] | Tensor) -> "ImageFiles":
        """The files at `indices`."""
        chosen = torch.as_tensor(indices)
        paths = tuple(self.paths[i] for i in chosen.tolist())
        return ImageFiles(self.root, paths, self.labels[chosen], self.image_size, self.workers)

    def loader(self, batch_size: int, device: torch.device, training: bool) -> "FileLoader":
        """Batches for training (random resized crop, flip, colour jitter) or evaluation."""
        return FileLoader(self, batch_size, device, training)


class FileLoader:
    """Decodes in worker processes; what reaches the device is a uint8 batch [B, 3, S, S].

    What happens to an image in an epoch follows from the epoch's generator and the image's index,
    whatever the number of workers.
    """

    def __init__(
        self, files: ImageFiles, batch_size: int, device: torch.device, training: bool
    ) -> None:
        self.files, self.batch_size, self.device = files, batch_size, device
        self.training = training
        self.num_images = len(files)

    def __len__(self) -> int:
        full, rest = divmod(self.num_images, self.batch_size)
        return full + (rest > (1 if self.training and full else 0))

    def epoch(self, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """One pass; a stray single image of a training epoch is left out, as in DeviceLoader."""
        seed = 0 if generator is None else generator.initial_seed()
        order = (
            torch.arange(self.num_images)
            if generator is None
            else torch.randperm(self.num_images, generator=generator)
        )
        batches = order.split(self.batch_size)[: len(self)]
        loader = DataLoader(
            _Decoded(self.files, self.training, seed),
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self.files.workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if self.files.workers else None,
        )
        for images, labels in loader:
            yield (
                images.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
            )


def default_workers() -> int:
    """A worker for every core but the one that feeds the device, at most 16."""
    return max(1, min(16, (os.cpu_count() or 2) - 1))


def read_image(path: Path) -> Image.Image:
    """Decode a PNG, JPEG or WebP file to RGB. Raises DataError, naming the file, if it cannot."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error


class _Decoded(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, files: ImageFiles, training: bool, seed: int) -> None:
        self._files, self._training, self._seed = files, training, seed
        size = files.image_size
        crop: list[v2.Transform] = (
            [
                v2.RandomResizedCrop(size, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(_JITTER, _JITTER, _JITTER),
            ]
            if training
            else [v2.Resize(round(size * _RESIZE), antialias=True), v2.CenterCrop(size)]
        )
        self._transform = v2.Compose([*crop, v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = read_image(self._files.root / self._files.paths[index])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._seed, "image", index))
            return self._transform(image), self._files.labels[index]
