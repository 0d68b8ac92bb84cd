"""Datasets whose epochs end early and are timed, so that a stage can be run briefly.

The loaders are those of training and evaluation on all images, with shorter passes. So steps,
batches and memory are the same as in the real run.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from classification.data.datasets import ImageDataset
from classification.data.files import FileLoader, ImageFiles, default_workers
from classification.data.loaders import Batch, DeviceLoader, Images, ImageSet, Loader
from classification.world import ALONE, World

T = TypeVar("T")

_SETTLING = 5  # batches on a GPU; after the last, a step has its CUDA graph
_SMALL, _GROWTH = 4, 4  # images of the first batches on a CPU, and growth to the next size
SHORT = 1.0  # seconds that a step or another try may take, however little time there is


@dataclass(frozen=True)
class Pass:
    """Timings of a pass over `of` images.

    The first `seen` images took `elapsed` seconds; the last `images` of these, with the decoding
    workers at a steady rate, took `seconds`. If batches were cut, `images` and `seconds` are those
    of complete ones. `added` are seconds of a settling pass that a real one does not have.
    """

    training: bool
    of: int
    seen: int
    elapsed: float
    images: int
    seconds: float
    whole: bool
    added: float = 0.0

    @property
    def seconds_per_image(self) -> float:
        """Seconds per image at the steady rate."""
        return self.seconds / self.images

    @property
    def all_seconds(self) -> float:
        """Seconds of the complete pass, extrapolated if it ended early."""
        return self.elapsed if self.whole else self.seconds_per_image * self.of


class Meter:
    """Ends passes after `seconds`, or after the first batches while `settling`, and times them.

    On a CPU a step can take longer than `seconds`. A settling pass there repeats the first batch:
    twice with a few images and twice with more, since libraries prepare the first step on a new
    size; these tell how many images fit into `seconds`, or into a second, and the last step has as
    many. Later passes have batches of that size, and the line through the timings gives those of
    complete batches.

    A pass that starts within another, such as over a search's architecture images, counts as part
    of it. `clock` returns seconds.
    """

    def __init__(
        self,
        device: torch.device,
        seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.settling = True
        self._device, self._seconds, self._clock = device, seconds, clock
        self._passes: list[Pass] = []
        self._within = False
        # Of batches in training or not: the images that fit; seconds of a small one.
        self._fits: dict[bool, int] = {}
        self._small: dict[bool, dict[int, float]] = {}
        self._limit: int | None = None  # images of a batch
        self.cut: int | None = None  # images of the smallest batch that replaced a larger one

    def now(self) -> float:
        """Return the time after waiting for the device to finish its work."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def take(self) -> tuple[Pass, ...]:
        """Return the passes since the last call."""
        passes, self._passes = tuple(self._passes), []
        return passes

    def watch(self, batches: Iterator[T], loader: Loader, skipped: int = 0) -> Iterator[T]:
        """Yield the batches of a pass of `loader` until it has been measured long enough.

        The steady rate is measured after the first `skipped` batches.
        """
        if self._within:
            yield from map(self._part, batches)
            return
        self._within = True
        try:
            brief = self._settled if self.settling and self._device.type == "cpu" else self._timed
            with closing(batches):  # type: ignore[type-var]  # iterators here are generators
                yield from brief(batches, loader, skipped)
        finally:
            self._within = False

    def _settled(self, batches: Iterator[T], loader: Loader, skipped: int) -> Iterator[T]:
        begun = last = self.now()
        complete, timed = loader.global_batch(0), dict[int, float]()  # seconds by images
        for batch in islice(batches, 1):
            for images in self._sizes(timed, complete):
                self._limit = images
                yield self._part(batch)
                last, timed[images] = self.now(), self.now() - last
            self._fits[loader.training] = images
            self._small[loader.training] = dict([min(timed.items())])
            elapsed, step = last - begun, timed[images]
            self._passes.append(
                Pass(
                    loader.training,
                    loader.num_images,
                    images,
                    elapsed,
                    images,
                    step,
                    whole=images == loader.num_images,
                    added=elapsed - step,
                )
            )

    def _sizes(self, timed: Mapping[int, float], complete: int) -> Iterator[int]:
        """Yield the images of a settling pass's batches, the last as many as fit; `timed` has the
        seconds of the earlier ones."""
        small, more = min(_SMALL, complete), min(_SMALL * _GROWTH, complete)
        yield from (small, small)
        seconds = max(self._seconds, SHORT)
        if more > small and timed[small] * _GROWTH <= seconds:
            yield from (more, more)
        images, each = max(timed), slope(timed)
        fits = images + int((seconds - timed[images]) / each) if each > 0 else complete
        if fits > small:
            fits = max(fits, 2 * small)  # a line through nearer numbers would tell nothing
        fitting = min(complete, max(small, fits))
        if fitting not in timed:
            yield fitting

    def _timed(self, batches: Iterator[T], loader: Loader, skipped: int) -> Iterator[T]:
        begun = paced = self.now()
        number = seen = 0
        counted = paced_counted = paced_number = 0  # images of complete batches
        limit = self._fits.get(loader.training) if self._device.type == "cpu" else None
        self._limit = None if limit is None or limit >= loader.batch_size else limit
        for batch in batches:
            yield self._part(batch)
            complete = loader.global_batch(number)
            counted += complete
            seen += complete if self._limit is None else min(complete, self._limit)
            number += 1
            if number == skipped:
                paced, paced_counted, paced_number = self.now(), counted, number
            if number < len(loader) and number > skipped and self._enough(number, begun):
                break
        ended, whole = self.now(), seen == counted
        if counted == paced_counted:
            paced, paced_counted, paced_number = begun, 0, 0
        seconds, images = ended - paced, counted - paced_counted
        if not whole and self._limit is not None:
            self.cut = min(self._limit, self.cut or self._limit)
            steps = number - paced_number
            each = slope({**self._small[loader.training], self._limit: seconds / steps})
            seconds += each * max(0, images - steps * self._limit)
        self._passes.append(
            Pass(
                loader.training,
                loader.num_images,
                seen,
                ended - begun,
                images,
                seconds,
                whole and 0 < number == len(loader),
            )
        )

    def _part(self, batch: T) -> T:
        """Return the first images of a batch, which is a tuple of tensors."""
        if self._limit is None:
            return batch
        return tuple(part[: self._limit] for part in batch)  # type: ignore[attr-defined,return-value]

    def _enough(self, number: int, begun: float) -> bool:
        if self.settling:
            return number >= _SETTLING
        elapsed = self._clock() - begun
        return elapsed + elapsed / number / 2 > self._seconds  # another step would exceed it


def slope(timed: Mapping[int, float]) -> float:
    """Return the seconds of a further image, by the seconds of numbers of images: from the smallest
    to the largest number, at least 0 and at most the mean of the largest."""
    (few, below), (many, above) = min(timed.items()), max(timed.items())
    if few == many:
        return above / many
    return min(above / many, max(0.0, (above - below) / (many - few)))


@dataclass(frozen=True, eq=False)
class BriefSet(ImageSet):
    """Images in memory, with loaders whose passes a meter ends."""

    meter: Meter

    def take(self, indices: Tensor) -> "BriefSet":
        """Return the images at `indices`, int64 [n], in that order."""
        part = super().take(indices)
        return BriefSet(part.images, part.labels, self.meter)

    def loader(
        self,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> DeviceLoader:
        """Return a loader like that of ImageSet, with shorter passes."""
        return _BriefDeviceLoader(self.meter, self, batch_size, device, training, world, balanced)


@dataclass(frozen=True, eq=False)
class BriefFiles(ImageFiles):
    """Images in files, with loaders whose passes a meter ends."""

    meter: Meter = field(kw_only=True)

    def loader(
        self,
        batch_size: int,
        device: torch.device,
        training: bool,
        world: World = ALONE,
        balanced: bool = False,
    ) -> FileLoader:
        """Return a loader like that of ImageFiles, with shorter passes."""
        return _BriefFileLoader(self.meter, self, batch_size, device, training, world, balanced)


def brief_dataset(dataset: ImageDataset, meter: Meter) -> ImageDataset:
    """Return the dataset with passes over both splits that `meter` ends."""
    brief = replace(dataset, train=_brief(dataset.train, meter), test=_brief(dataset.test, meter))
    vars(brief)["content_hash"] = dataset.content_hash  # same images: do not read them again
    return brief


def _brief(images: Images, meter: Meter) -> Images:
    if isinstance(images, ImageSet):
        return BriefSet(images.images, images.labels, meter)
    assert isinstance(images, ImageFiles)  # there is no third kind
    return BriefFiles(**vars(images), meter=meter)


class _BriefDeviceLoader(DeviceLoader):
    def __init__(self, meter: Meter, images: ImageSet, *arguments: Any) -> None:
        super().__init__(images, *arguments)
        self._meter = meter

    def index_batches(
        self, generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[tuple[Tensor]]:
        return self._meter.watch(super().index_batches(generator, first), self)


class _BriefFileLoader(FileLoader):
    def __init__(self, meter: Meter, files: ImageFiles, *arguments: Any) -> None:
        super().__init__(files, *arguments)
        self._meter = meter
        self._workers = default_workers() if files.workers is None else files.workers

    def index_batches(
        self, generator: torch.Generator | None = None, first: int = 0
    ) -> Iterator[Batch]:
        # The workers' first batches arrive together, so the rate is measured after them.
        skipped = min(self._workers, len(self) - 1)
        return self._meter.watch(super().index_batches(generator, first), self, skipped)
