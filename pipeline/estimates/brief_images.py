"""Datasets whose epochs end early and are timed, so that a stage can be run briefly.

A loader here is the one that training and evaluation take, on all images; its passes alone are
shorter. So the steps, their batches and their memory are those of the real work.
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
from classification.distributed import ALONE, World

T = TypeVar("T")

_SETTLING = {"cpu": 1, "cuda": 5}  # batches, by the last of which a step has its CUDA graph


@dataclass(frozen=True)
class Pass:
    """What was seen of a pass over `of` images.

    `elapsed` seconds went by over `seen` images, `seconds` of them over the last `images`, when the
    workers that decode had found their pace.
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
        """Of the work at its pace."""
        return self.seconds / self.images

    @property
    def all_seconds(self) -> float:
        """How long the whole pass takes."""
        return self.elapsed if self.whole else self.seconds_per_image * self.of


class Meter:
    """Ends passes after `seconds`, or after the first batches while `settling`, and times them.

    A pass that begins within another, as those over a search's architecture part do, belongs to it.
    `clock` gives seconds.
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

    def now(self) -> float:
        """The time at which all that was asked of the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()

    def take(self) -> tuple[Pass, ...]:
        """The passes since the last call."""
        passes, self._passes = tuple(self._passes), []
        return passes

    def watch(self, batches: Iterator[T], loader: Loader, skipped: int = 0) -> Iterator[T]:
        """The batches of a pass of `loader`, until it has been seen enough of.

        Its pace counts from after the first `skipped` batches.
        """
        if self._within:
            yield from batches
            return
        self._within = True
        try:
            with closing(batches):  # type: ignore[type-var]  # iterators here are generators
                yield from self._timed(batches, loader, skipped)
        finally:
            self._within = False

    def _timed(self, batches: Iterator[T], loader: Loader, skipped: int) -> Iterator[T]:
        begun = paced = self.now()
        number = seen = paced_seen = 0
        for batch in batches:
            yield batch
            seen += loader.global_batch(number)
            number += 1
            if number == skipped:
                paced, paced_seen = self.now(), seen
            if number < len(loader) and number > skipped and self._enough(number, begun):
                break
        ended, whole = self.now(), number == len(loader)
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
                whole,
            )
        )

    def _enough(self, number: int, begun: float) -> bool:
        if self.settling:
            return number >= _SETTLING[self._device.type]
        return self._clock() - begun >= self._seconds


@dataclass(frozen=True, eq=False)
class BriefSet(ImageSet):
    """Images in memory whose loaders' passes a meter ends."""

    meter: Meter

    def take(self, indices: Tensor) -> "BriefSet":
        """The images at `indices`, int64 [n], in that order."""
        part = super().take(indices)
        return BriefSet(part.images, part.labels, self.meter)

    def loader(
        self, batch_size: int, device: torch.device, training: bool, world: World = ALONE
    ) -> DeviceLoader:
        """As those of ImageSet, but for their passes."""
        return _BriefDeviceLoader(self.meter, self, batch_size, device, training, world)


@dataclass(frozen=True, eq=False)
class BriefFiles(ImageFiles):
    """Images in files whose loaders' passes a meter ends."""

    meter: Meter = field(kw_only=True)

    def loader(
        self, batch_size: int, device: torch.device, training: bool, world: World = ALONE
    ) -> FileLoader:
        """As those of ImageFiles, but for their passes."""
        return _BriefFileLoader(self.meter, self, batch_size, device, training, world)


def brief_dataset(dataset: ImageDataset, meter: Meter) -> ImageDataset:
    """The dataset, the passes over either split ended by `meter`."""
    brief = replace(dataset, train=_brief(dataset.train, meter), test=_brief(dataset.test, meter))
    vars(brief)["content_hash"] = dataset.content_hash  # of the same images; no need to read them
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
        # The workers' first batches arrive together: the pace shows after them.
        skipped = min(self._workers, len(self) - 1)
        return self._meter.watch(super().index_batches(generator, first), self, skipped)
