"""Images left in their files and decoded by worker processes, batch by batch."""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFile
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional

from classification.data.augmentation import (
    NUM_COLOUR_DRAWS,
    NUM_CROP_DRAWS,
    ColourJitter,
    random_box,
)
from classification.data.decoding import Decoding
from classification.data.file_index import FileIndex
from classification.data.image_file import opened, strict_pillow
from classification.data.loaders import Batch, Loader
from classification.data.strata import rank_in_class
from classification.data.transforms import Normalization
from classification.data.workers import worker_context
from classification.errors import DataError
from classification.seeding import make_generator
from classification.world import ALONE, World

# Of ImageNet's training images, as torchvision's models assume.
IMAGENET_NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RESIZE = 256 / 224  # the shorter side before the centre crop, by the side of the crop
_PREFETCHED = 4  # batches a worker
_MAX_WORKERS = 16
_NAMED = 3  # unreadable files in a message
_FIRST_OF_CROP = NUM_COLOUR_DRAWS  # of an image's numbers: after the flip's and all but the hue's

# The pass's seed; of a batch's images the index, and how often the pass has shown the image before.
Keys = tuple[int, list[tuple[int, int]]]
Failures = list[tuple[int, str]]  # index and message of what could not be read


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One split of an image folder, shown as squares of side `image_size`, pixels.

    `max_unreadable` files may turn out to be no images before a loader raises DataError; `key` is
    where the split's settings stand, for that message. `jitter` is applied in training.
    """

    files: FileIndex
    image_size: int
    decoding: Decoding = field(default_factory=Decoding)
    workers: int | None = None
    flip: bool = True
    max_unreadable: int = 0
    key: str = "data"
    jitter: ColourJitter = field(default_factory=ColourJitter)

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 [N]."""
        return self.files.labels

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Tensor) -> "ImageFiles":
        """The files at `indices`, int64 [n], in that order."""
        return replace(self, files=self.files.take(indices))

    def loader(
        self,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> "FileLoader":
        """Batches for training (random resized crop, flip, colour jitter) or evaluation."""
        return FileLoader(self, batch_size, device, training, world, balanced)

    def digest(self) -> str:
        """SHA-256, in hex, over `image_size`, `decoding`, names, sizes in bytes and labels; reading
        every byte of ImageNet would take longer than many a stage."""
        digest = hashlib.sha256(f"{self.image_size} {self.decoding}\n".encode())
        for path, size, label in self.files.entries():
            digest.update(b"%s\t%d\t%d\n" % (path, size, label))
        return digest.hexdigest()


class FileLoader(Loader):
    """Decodes in worker processes; what reaches the device is a uint8 batch [B, 3, S, S].

    What becomes of an image in a pass follows from the pass's generator, the image's index and how
    often the pass has shown it before, whatever the number of workers. Workers last as long as the
    loader. An image that cannot be read is replaced by the next one of the split that can be, and
    its file added to `unreadable`.
    """

    sharded = True

    def __init__(
        self,
        files: ImageFiles,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> None:
        super().__init__(files.labels, batch_size, training, world, balanced)
        self.files, self.device = files, device
        self._failures: dict[int, str] = {}
        self._idle: _Pool | None = None

    @property
    def unreadable(self) -> tuple[Path, ...]:
        """Files that this process could not read so far, each replaced by another image."""
        return tuple(self.files.files.path(index) for index in self._failures)

    def index_batches(
        self, generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[Batch]:
        """The batches themselves: a file cannot be read on the device.

        Raises DataError when more files are unreadable than `max_unreadable` allows.
        """
        seed = 0 if generator is None else generator.initial_seed()
        rows = self._rows(generator)
        shown = rank_in_class(rows) if self.balanced else torch.zeros_like(rows)
        pairs = torch.stack([rows, shown], 1)
        batches = pairs.split(self.batch_size)[first : len(self)]
        if not batches:
            return  # without starting workers
        # The last batch of an evaluation may have no image for this process.
        local = map(self.world.local_batch, batches)
        keys = ((seed, images.tolist()) for images in local if len(images))
        # A pass that begins while another is under way has workers of its own.
        pool, self._idle = self._idle or _Pool(self), None
        try:
            for images, labels, draws, failures in pool.decode(keys):
                self._note(failures)
                yield self._on_device(images, draws), labels.to(self.device, non_blocking=True)
        except GeneratorExit:
            self._idle = pool
            raise
        self._idle = pool

    def load(self, *index: Tensor) -> Batch:
        """The batch that the index is."""
        images, labels = index
        return images, labels

    def _on_device(self, images: Tensor, draws: Tensor) -> Tensor:
        """The images on the device, their colours jittered if they are for training."""
        images = images.to(self.device, non_blocking=True)
        if not self.training:
            return images
        return self.files.jitter(images, draws.to(self.device, non_blocking=True))

    def _note(self, failures: Failures) -> None:
        for index, message in failures:
            self._failures.setdefault(index, message)
        limit, count = self.files.max_unreadable, len(self._failures)
        if count > limit or count == self.num_images:
            setting = f"{self.files.key}.max_unreadable"
            if count == 1:
                raise DataError(f"{next(iter(self._failures.values()))}, or {setting} above 0")
            names = ", ".join(map(str, self.unreadable[:_NAMED]))
            raise DataError(
                f"{names}{', …' if count > _NAMED else ''}: {count} unreadable images, allowed: at "
                f"most {limit} ({setting})"
            )


class _Pool:
    """Worker processes and the loader that feeds them, for one pass after another."""

    def __init__(self, loader: FileLoader) -> None:
        files, self._keys = loader.files, _KeySampler()
        workers = default_workers(loader.world) if files.workers is None else files.workers
        self._loader = DataLoader(
            _Decoder(files, loader.training),
            batch_sampler=self._keys,
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context=worker_context(__name__) if workers else None,
            pin_memory=loader.device.type == "cuda",
            prefetch_factor=_PREFETCHED if workers else None,
            persistent_workers=workers > 0,
        )

    def decode(self, keys: Iterable[Keys]) -> Iterator[Any]:
        self._keys.current = keys
        return iter(self._loader)


class _KeySampler:
    """A batch sampler whose batches are set anew for every pass."""

    current: Iterable[Keys] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.current)


class _Decoder(Dataset[Any]):
    """Decodes, crops and flips a batch at a time in a worker process."""

    def __init__(self, files: ImageFiles, training: bool) -> None:
        self._files, self._training = files, training

    def __getitems__(self, keys: Keys) -> tuple[Tensor, Tensor, Tensor, Failures]:
        """Images uint8 [B, 3, S, S], labels int64 [B], colour draws float32 [B, 5], failures."""
        seed, shown = keys
        size = self._files.image_size
        images = torch.zeros(len(shown), 3, size, size, dtype=torch.uint8)
        draws = torch.zeros(len(shown), NUM_COLOUR_DRAWS)
        labels: list[Tensor] = []
        failures: Failures = []
        with strict_pillow():
            for row, (index, before) in enumerate(shown):
                numbers: Sequence[float] = ()
                if self._training:
                    numbers = self._numbers(seed, index, *([before] if before else []))
                image, used = self._first_readable(index, numbers, failures)
                if image is not None:
                    images[row] = image
                labels.append(self._files.labels[used])
                if self._training:
                    colours = [*numbers[1:_FIRST_OF_CROP], numbers[-1]]
                    draws[row] = torch.tensor(self._files.jitter.draw(colours))
        return images, torch.stack(labels), draws, failures

    def _first_readable(
        self, index: int, numbers: Sequence[float], failures: Failures
    ) -> tuple[Tensor | None, int]:
        """The image, or the next that can be read, and its index.

        Gives up, with None, once there are more failures than may be: the loader raises then.
        """
        count = len(self._files)
        for used in range(index, index + min(count, self._files.max_unreadable + 1)):
            path = self._files.files.path(used % count)
            try:
                return self._decode(path, numbers), used % count
            except DataError as error:
                failures.append((used % count, str(error)))
        return None, index

    def _numbers(self, seed: int, *image: int) -> list[float]:
        """Uniform numbers of an image: the flip's, the colours', the crop's, the hue's."""
        count = 1 + NUM_COLOUR_DRAWS + NUM_CROP_DRAWS
        generator = make_generator(seed, "image", *image)
        return torch.rand(count, generator=generator, dtype=torch.float64).tolist()

    def _decode(self, path: Path, numbers: Sequence[float]) -> Tensor:
        """One image, uint8 [3, S, S], or [1, S, S] if it is gray."""
        size = self._files.image_size
        with opened(path) as image:
            if self._training:
                drawn = numbers[_FIRST_OF_CROP:-1]
                crop = _random_crop(image, size, drawn, self._files.decoding)
                pixels = functional.resize(crop, [size, size], antialias=True)
                return pixels.flip(-1) if self._files.flip and numbers[0] < 0.5 else pixels
            return evaluation_pixels(image, size, self._files.decoding)


def _random_crop(
    image: ImageFile.ImageFile, size: int, numbers: Sequence[float], decoding: Decoding
) -> Tensor:
    """A random part, of a JPEG decoded at the least fraction that leaves `size` pixels of it."""
    if decoding.turns(image):
        upright = functional.pil_to_tensor(decoding.to_rgb(image))
        left, top, width, height = random_box((upright.shape[2], upright.shape[1]), numbers)
        return functional.crop(upright, top, left, height, width)
    full = image.size
    left, top, width, height = random_box(full, numbers)
    image.draft(None, (math.ceil(full[0] * size / width), math.ceil(full[1] * size / height)))
    if image.size != full:
        left, top, width, height = random_box(image.size, numbers)
    return decoding.pixels(image, (left, top, left + width, top + height))


def evaluation_pixels(image: Image.Image, size: int, decoding: Decoding) -> Tensor:
    """The middle of an image, not loaded yet if it is a file's, as evaluation sees it: uint8
    [3, S, S], or [1, S, S] if it is gray."""
    side = evaluation_side(size)
    image.draft(None, (side, side))
    pixels = functional.resize(decoding.pixels(image), [side], antialias=True)
    return functional.center_crop(pixels, [size, size])


def evaluation_side(image_size: int) -> int:
    """Pixels to which the shorter side is brought before the middle is cut out for evaluation."""
    return round(image_size * _RESIZE)


def default_workers(world: World = ALONE) -> int:
    """A worker for every core but the one that feeds the device, at most 16.

    Processes of `world` on the same machine share its cores; torchrun says how many they are.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 2
    here = world.size if world.alone else int(os.environ.get("LOCAL_WORLD_SIZE", world.size))
    return max(1, min(_MAX_WORKERS, cores // max(1, here) - 1))


def _as_it_is(batch: Any) -> Any:
    return batch
