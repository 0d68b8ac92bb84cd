"""Image datasets as uint8 tensors: digits, CIFAR-10 and CIFAR-100, image folders.

Every dataset has a train and a test split. Test images choose nothing; where something is to be
chosen, `strata.split_validation` holds a part of train out.
"""

import hashlib
import http.client
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import distribution
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from classification.data.augmentation import ColourJitter
from classification.data.config import DataConfig as DataConfig
from classification.data.decoding import Decoding, Findings, all_of, decode_images, native_size
from classification.data.file_index import FileIndex
from classification.data.files import IMAGENET_NORMALIZATION, ImageFiles
from classification.data.folder_pixels import FolderPixels, read_pixels
from classification.data.folder_survey import SAMPLED, Sample, depth_used, look_at
from classification.data.folders import list_images
from classification.data.loaders import Images, ImageSet
from classification.data.source import CIFAR_ROOT, join_source, listing_of
from classification.data.strata import first_of_each_class, rank_in_class
from classification.data.transforms import (
    Augmentation,
    Normalization,
    channel_histogram,
    constant_channels,
)
from classification.errors import ConfigError, DataError

_DIGITS_LEVELS = 16  # the scans count dark pixels in blocks of 4×4
_DIGITS_TEST_EVERY = 5
_PADDING_SHARE = 8  # 4 pixels at CIFAR's 32 (He et al. 2016, section 4.2)
MAX_BYTES = 8 << 30
_RESIZE_CHUNK = 1024  # images
_CHECKED = 100_000  # files of a split, up to which each is checked before anything starts


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Both splits, what the labels mean, and how training sees the images."""

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images
    normalization: Normalization  # of the train split
    crop_padding: int
    flip: bool
    lighting: float = 0.0
    decoding: Decoding = field(default_factory=Decoding)  # of files to pixels
    notes: tuple[str, ...] = ()  # what a person should know of how the images were read
    source: str | None = None  # of the files, see `source_of`
    files: FileIndex | None = None  # of the whole training split, if its images are files
    evaluated: str = "test"  # the usual name of `test`, for the display: test, val or held-out

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.train.image_size

    @cached_property
    def content_hash(self) -> str:
        """SHA-256, in hex, over the class names and both splits' images and labels."""
        parts = [*self.classes, self.train.digest(), self.test.digest()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def in_memory(self) -> ImageSet:
        """The training images as one tensor. Raises ConfigError if they stay in files."""
        if isinstance(self.train, ImageSet):
            return self.train
        raise ConfigError(
            "data.storage: found files; what is scored is held on the device, allowed: memory"
        )

    def with_train(self, indices: Sequence[int]) -> "ImageDataset":
        """The same dataset with these training images alone, by their place in the split.

        The normalization stays that of the whole split, so that an image looks the same to a
        network whichever others it is trained with.
        """
        return replace(self, train=self.train.take(torch.tensor(indices, dtype=torch.int64)))

    def with_jitter(self, jitter: ColourJitter) -> "ImageDataset":
        """The same dataset whose training images get this colour jitter, if they stay in files.

        Images in memory have none.
        """
        if not isinstance(self.train, ImageFiles):
            return self
        return replace(self, train=replace(self.train, jitter=jitter))

    def augmentation(self, cutout: int = 0) -> Augmentation:
        """Crop, flip, lighting, normalise and, with a side in pixels, Cutout."""
        return Augmentation(self.normalization, self.crop_padding, self.flip, cutout, self.lighting)


def load_dataset(config: DataConfig, key: str = "data", download: bool = True) -> ImageDataset:
    """Read the images that `config` names, on the CPU.

    `key` is where `config` stands in the whole configuration; it opens messages about settings.
    Raises DataError for images that are missing or unreadable, ConfigError for settings that these
    images cannot honour.
    """
    if config.in_files:
        return _leave_in_files(config, key)
    listing = listing_of(config)  # first: a file that changes while it is read is listed otherwise
    decoding, notes = Decoding.of(config), list[str]()
    counts, files, evaluated = None, None, "test"
    if config.kind == "folder":
        classes, evaluated, found = _read_folder(config, key, listing)
        train, test, decoding, counts = found.train, found.test, found.decoding, found.counts
        notes += found.notes
        files = found.files
    elif config.kind == "digits":
        classes, train, test = _read_digits(config, key)
    else:
        classes, train, test = _read_cifar(config, key, download)
    side = train.image_size
    counts = channel_histogram(train.images) if counts is None else counts
    notes += constant_channels(counts)
    return ImageDataset(
        name=_name(config),
        classes=classes,
        train=train,
        test=test,
        normalization=Normalization.of_histogram(counts),
        crop_padding=side // _PADDING_SHARE if config.crop_padding is None else config.crop_padding,
        flip=config.flips,
        lighting=config.lighting,
        decoding=decoding,
        notes=tuple(notes),
        source=None if listing is None else join_source(config, listing),
        files=files,
        evaluated=evaluated,
    )


def split_digits(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the train and the test scans among all, int64: every fifth of a class is test."""
    is_test = rank_in_class(labels) % _DIGITS_TEST_EVERY == _DIGITS_TEST_EVERY - 1
    return (~is_test).nonzero().flatten(), is_test.nonzero().flatten()


def open_cifar(config: DataConfig, key: str, download: bool = True) -> tuple[Any, Any]:
    """torchvision's datasets of both splits, whole. Raises DataError if they cannot be had."""
    from torchvision import datasets  # slow to import, and needed for these kinds alone

    kind = datasets.CIFAR10 if config.kind == "cifar10" else datasets.CIFAR100
    root = config.root or CIFAR_ROOT
    try:
        with warnings.catch_warnings():
            # The files of 2009 describe their arrays in a way that some numpy versions deprecate.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            train, test = (kind(root, train=train, download=download) for train in (True, False))
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{key}.root: {config.kind} is not in {root} and cannot be fetched ({reason}); "
            f"allowed: a folder that holds {kind.base_folder}"
        ) from error
    return train, test


_Splits = tuple[tuple[str, ...], ImageSet, ImageSet]


def _read_digits(config: DataConfig, key: str) -> _Splits:
    """scikit-learn's scans in its order, 1,442 for training and 355 for testing."""
    # Read from the file of its `load_digits`, as importing scikit-learn takes most of a second.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), delimiter=",")  # [N, 64 pixels and the label]
    scaled = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / _DIGITS_LEVELS)).astype(np.uint8)
    images = torch.from_numpy(scaled)[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(table[:, -1].astype(np.int64))
    everything = ImageSet(images, labels)
    train, test = (everything.take(part) for part in split_digits(labels))
    return _reduce(tuple(map(str, range(10))), train, test, config, key)


def _read_cifar(config: DataConfig, key: str, download: bool) -> _Splits:
    train, test = open_cifar(config, key, download)
    train_set, test_set = (
        ImageSet(torch.from_numpy(split.data).permute(0, 3, 1, 2), torch.tensor(split.targets))
        for split in (train, test)
    )
    return _reduce(tuple(train.classes), train_set, test_set, config, key)


def _read_folder(
    config: DataConfig, key: str, listing: str | None
) -> tuple[tuple[str, ...], str, FolderPixels]:
    """Class names, what is evaluated, and both splits with notes on how they were decoded."""
    found = list_images(config, key)

    def decode() -> tuple[Tensor, Decoding, Findings]:
        paths = [*found.train.paths, *found.test.paths]
        side = config.image_size or native_size(paths)
        _check_memory(len(paths), side, key)
        # Scaled by the depth of the training images: test images choose nothing.
        resize, train = config.image_size is not None, len(found.train)
        return decode_images(paths, side, resize, Decoding.of(config), train)

    pixels = read_pixels(config, listing, found, decode)
    notes = (*found.notes(), *pixels.notes)
    return found.classes, found.layout.evaluated, replace(pixels, notes=notes)


def _leave_in_files(config: DataConfig, key: str) -> ImageDataset:
    """The folder's index; workers crop and flip, so the device jitters colours and normalises."""
    assert config.image_size is not None  # DataConfig's validator
    found = list_images(config, key)
    samples = [_look_at_all(files) for files in (found.train, found.test)]
    notes = found.notes() + _check_files(samples, config, key)
    decoding = replace(Decoding.of(config), bits=depth_used(*samples))
    for sample, split in zip(samples, ("training", "held out"), strict=True):
        notes += sample.notes(decoding, split)
    train, test = (
        ImageFiles(
            files,
            config.image_size,
            decoding,
            workers=config.workers,
            flip=config.flips,
            max_unreadable=config.max_unreadable,
            key=key,
        )
        for files in (found.train, found.test)
    )
    return ImageDataset(
        _name(config),
        found.classes,
        train,
        test,
        IMAGENET_NORMALIZATION,
        crop_padding=0,
        flip=False,
        lighting=config.lighting,
        decoding=decoding,
        notes=tuple(notes),
        files=found.train,
        evaluated=found.layout.evaluated,
    )


def _look_at_all(files: FileIndex) -> Sample:
    """Every header and file's end; of more files than are soon looked at, some headers, and the
    loaders name the files that they cannot read."""
    if len(files) <= _CHECKED:
        return look_at(files, len(files), whole=True)
    return replace(look_at(files, SAMPLED), failures=())


def _check_files(samples: Sequence[Sample], config: DataConfig, key: str) -> list[str]:
    """Raise DataError naming all files that cannot be used if those of a split are all of it, or
    more than may be; a note of those that may."""
    failures = [error for sample in samples for error in sample.failures]
    if not failures:
        return []
    if any(not sample.headers for sample in samples):
        raise all_of(failures)
    most = max(len(sample.failures) for sample in samples)
    if most > config.max_unreadable:
        raise DataError(f"{all_of(failures)}, or {key}.max_unreadable above {most - 1}")
    return [f"{all_of(failures)} ({key}.max_unreadable {config.max_unreadable})"]


def _name(config: DataConfig) -> str:
    return config.root.resolve().name if config.kind == "folder" and config.root else config.kind


def _reduce(
    classes: tuple[str, ...], train: ImageSet, test: ImageSet, config: DataConfig, key: str
) -> _Splits:
    """The first classes and images that `config` asks for, at its image size."""
    number = len(classes) if config.classes is None else config.classes
    if number > len(classes):
        raise ConfigError(
            f"{key}.classes: found {number}, allowed: at most {config.kind}'s {len(classes)}"
        )
    train = train.take(first_of_each_class(train.labels, number, config.images_per_class))
    test = test.take((test.labels < number).nonzero().flatten())
    side = config.image_size or train.images.shape[-1]
    _check_memory(len(train) + len(test), side, key)
    return classes[:number], _resize(train, side), _resize(test, side)


def _resize(split: ImageSet, side: int) -> ImageSet:
    if split.images.shape[-1] == side:
        return ImageSet(split.images.contiguous(), split.labels)
    chunks = [
        F.interpolate(chunk, size=(side, side), mode="bilinear", antialias=True)
        for chunk in split.images.split(_RESIZE_CHUNK)
    ]
    return ImageSet(torch.cat(chunks), split.labels)


def _check_memory(images: int, side: int, key: str) -> None:
    needed = images * 3 * side * side
    if needed > MAX_BYTES:
        raise ConfigError(
            f"{key}: {images:,} images of {side}×{side} pixels take {needed / (1 << 30):.1f} GiB, "
            f"allowed: at most {MAX_BYTES >> 30}; lower image_size, classes or images_per_class"
        )
