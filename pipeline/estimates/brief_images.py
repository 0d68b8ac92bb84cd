"""Datasets whose epochs end early and are timed, so that a stage can be run briefly.

The loaders are those of training and evaluation on all images, with shorter passes. So steps,
batches and memory are the same as in the real run.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from classification.data.datasets import ImageDataset
from classification.data.files import FileLoader, ImageFiles, default_workers
from classification.data.loaders import Batch, DeviceLoader, Images, ImageSet, Loader
from classification.world import ALONE, World

T = TypeVar("T")

_SETTLING = 5  # batches on a GPU; after the last, a step has its CUDA graph
_FIRST, _GROWTH = 4, 4  # images of the first batch on a CPU, and growth from batch to batch


@dataclass(frozen=True)
class Pass:
    """Timings of a pass over `of` images.

    The first `seen` images took `elapsed` seconds; the last `images` of these, with the decoding
    workers at a steady rate, took `seconds`.
    """

    training: bool
    of: int
    seen: int
    elapsed: float
    images: int
    seconds: float
    whole: bool

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

    On a CPU, where a step can take longer than `seconds`, the batches of a settling pass grow from
    a few images until one is complete or the time is over; later passes have batches of as many
    images as fit. The time of an image hardly depends on how many are in its batch there.

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
        self._rates: dict[bool, float] = {}  # seconds per image, in training or not
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
            with closing(batches):  # type: ignore[type-var]  # iterators here are generators
                yield from self._timed(batches, loader, skipped)
        finally:
            self._within = False

    def _timed(self, batches: Iterator[T], loader: Loader, skipped: int) -> Iterator[T]:
        begun = paced = last = self.now()
        number = seen = paced_seen = 0
        self._limit = self._largest(loader)
        whole = len(loader) > 0
        for batch in batches:
            yield self._part(batch)
            complete = loader.global_batch(number)
            images = complete if self._limit is None else min(complete, self._limit)
            whole = whole and images == complete
            seen += images
            number += 1
            if number == skipped:
                paced, paced_seen = self.now(), seen
            if self.settling and self._device.type == "cpu":
                last, took = self.now(), self.now() - last
                self._rates[loader.training] = took / images
                if images == complete or last - begun + _GROWTH * took > self._seconds:
                    break
                self._limit = _GROWTH * images
            elif number < len(loader) and number > skipped and self._enough(number, begun):
                break
        ended = self.now()
        if not self.settling and seen and not whole and self._limit is not None:
            self.cut = min(self._limit, self.cut or self._limit)
        if seen == paced_seen:
            paced, paced_seen = begun, 0
        self._passes.append(
            Pass(
                loader.training,
                loader.num_images,
                seen,
                ended - begun,
                seen - paced_seen,
                ended - paced,
                whole and number == len(loader),
            )
        )

    def _part(self, batch: T) -> T:
        """Return the first images of a batch, which is a tuple of tensors."""
        if self._limit is None:
            return batch
        return tuple(part[: self._limit] for part in batch)  # type: ignore[attr-defined,return-value]

    def _largest(self, loader: Loader) -> int | None:
        """Return the images of a batch that fit into a pass's time; None for complete batches."""
        if self._device.type != "cpu":
            return None
        if self.settling:
            return _FIRST
        rate = self._rates.get(loader.training)
        if rate is None or rate * loader.batch_size <= self._seconds:
            return None
        return max(_FIRST, int(self._seconds / rate))

    def _enough(self, number: int, begun: float) -> bool:
        if self.settling:
            return number >= _SETTLING
        return self._clock() - begun >= self._seconds


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
