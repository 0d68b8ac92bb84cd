"""What an image folder holds: its listing, and the headers of a sample of its files."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image

from classification.data.config import DataConfig
from classification.data.decoding import Decoding, Findings, all_of
from classification.data.depth import deep_values, depth_of, is_cut, is_deep, largest_value
from classification.data.file_index import FileIndex
from classification.data.folders import ImageFolder, list_images
from classification.data.image_file import check_whole, opened, orientation, strict_pillow
from classification.data.layout import (
    HELD_OUT,
    WANTED,
    Boundary,
    find_layout,
    folders_in,
    is_image,
    list_folder,
    some,
)
from classification.errors import DataError

SAMPLED = 1000  # headers of each split that are looked at: an open and a short read each
HOLD_OUT = 0.2  # of each class, where a folder has no held-out images
_MEASURED = 200  # images deeper than 8 bits that are decoded to find the depth that they use
_READ_AT_ONCE = 16  # headers; it is the file system that is waited for
_GRAY = {"1", "L", "LA", "I", "F"}


@dataclass(frozen=True)
class Header:
    """What the header of an image file says."""

    size: tuple[int, int]  # pixels: width, height
    mode: str  # Pillow's
    transparent: bool = False
    deep: bool = False  # integers of more than 8 bits a channel
    cut: bool = False  # bits that Pillow does not read
    turned: bool = False  # by an EXIF orientation

    @classmethod
    def of(cls, image: Image.Image) -> "Header":
        """That of an opened image that is not loaded yet."""
        return cls(
            image.size,
            image.mode,
            image.has_transparency_data,
            is_deep(image) and image.mode != "F",
            is_cut(image),
            orientation(image) != 1,
        )


@dataclass(frozen=True)
class Sample:
    """Headers of files spread evenly over a split of `number` images; `bits` is the depth that
    those deeper than 8 bits use."""

    headers: tuple[Header, ...]
    number: int
    failures: tuple[DataError, ...] = ()  # of files that cannot be used
    bits: int = 8

    @property
    def whole(self) -> bool:
        """Whether the sample is all there is."""
        return len(self.headers) + len(self.failures) == self.number

    @property
    def findings(self) -> Findings:
        """How many of the images are not plain."""
        counts = Counter[str]()
        for header in self.headers:
            counts.update(
                transparent=header.transparent,
                deep=header.deep,
                cut=header.cut,
                turned=header.turned,
            )
        return Findings(**counts)

    def notes(self, decoding: Decoding, split: str) -> list[str]:
        """What a person should know of how the images are decoded, a line each."""
        of = "" if self.whole else f" of the {len(self.headers):,} looked at"
        return [f"{split}: {line}" for line in decoding.describe(self.findings, of)]


@dataclass(frozen=True)
class FolderSurvey:
    """What `config`'s folder holds, and samples of the headers of both splits."""

    config: DataConfig
    folder: ImageFolder
    train: Sample
    test: Sample
    train_counts: tuple[int, ...]  # images of each class
    test_counts: tuple[int, ...]

    @property
    def root(self) -> Path:
        """The folder."""
        return self.folder.layout.root

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.folder.classes

    @property
    def train_images(self) -> int:
        """How many images there are to train on."""
        return sum(self.train_counts)

    @property
    def test_images(self) -> int:
        """How many images are held out."""
        return sum(self.test_counts)

    @property
    def headers(self) -> tuple[Header, ...]:
        """Those of both samples."""
        return self.train.headers + self.test.headers

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """The shorter sides of the images looked at, ascending, pixels."""
        return tuple(sorted(min(header.size) for header in self.headers))

    @property
    def sizes(self) -> frozenset[tuple[int, int]]:
        """The sizes of the images looked at, pixels."""
        return frozenset(header.size for header in self.headers)

    @property
    def gray(self) -> bool:
        """Whether none of the images looked at has colours."""
        return all(h.mode in _GRAY or h.mode.startswith("I;16") for h in self.headers)

    def side(self, share: float) -> int:
        """The shorter side that a share of the sample does not reach: 0.5 for the median."""
        return self.sides[min(int(share * len(self.sides)), len(self.sides) - 1)]

    def describe(self) -> str:
        """What was found, in a line."""
        smallest, largest = min(self.train_counts), max(self.train_counts)
        each = f"{smallest:,}" if smallest == largest else f"{smallest:,} to {largest:,}"
        split = self.folder.layout.held_out
        where = "held out of them" if split is None else f"in {split.name}/"
        return (
            f"{len(self.classes):,} classes, {self.train_images:,} training images ({each} a "
            f"class), {self.test_images:,} {where}, {self.describe_sizes()}"
        )

    def describe_sizes(self) -> str:
        """The sizes of the images, as far as they were looked at."""
        colours = ", grayscale" if self.gray else ""
        if len(self.sizes) == 1:
            width, height = next(iter(self.sizes))
            return f"{width}×{height} pixels{colours}"
        least, most = self.sides[0], self.sides[-1]
        if least == most:
            return f"shorter side {least:,} pixels{colours}"
        return f"shorter side {least:,} to {most:,} pixels, median {self.side(0.5):,}{colours}"

    def notes(self) -> list[str]:
        """What a person should know of how the images are read, a line each."""
        bits = depth_used(self.train, self.test)
        decoding = replace(Decoding.of(self.config), bits=bits)
        return [
            *self.folder.notes(),
            *self.train.notes(decoding, "training"),
            *self.test.notes(decoding, "held out"),
        ]


def survey_folder(root: Path, sampled: int = SAMPLED, follow_links: bool = False) -> FolderSurvey:
    """List an image folder as its loader does, and look at `sampled` headers of each split.

    Where there are no held-out images, a fifth of each class is held out. If a header has an EXIF
    orientation that is not upright, the config turns images. Raises DataError, in a line that says
    what to do, for what no loader accepts: no such layout, a class with too few
    images; for images and class folders outside of the splits; and naming the headers that cannot
    be read.
    """
    config = DataConfig(kind="folder", root=root, follow_links=follow_links)
    boundary = None if follow_links else Boundary(root, "data.follow_links")
    layout = find_layout(config, "data", boundary)
    if layout.train != root:
        _check_strays(layout.train, layout.passed_over, boundary)
    if layout.held_out is None:
        config = config.model_copy(update={"hold_out": HOLD_OUT})
    folder = list_images(config)
    train, test = look_at(folder.train, sampled), look_at(folder.test, sampled)
    if failures := train.failures + test.failures:
        raise all_of(failures)
    if any(header.turned for header in train.headers + test.headers):
        config = config.model_copy(update={"exif_orientation": True})
    counts = [_counts(files, len(folder.classes)) for files in (folder.train, folder.test)]
    return FolderSurvey(config, folder, train, test, *counts)


def look_at(files: FileIndex, sampled: int = SAMPLED, whole: bool = False) -> Sample:
    """Headers of at most `sampled` files spread evenly over the index; with `whole` their ends are
    looked at too, so that files cut short are among the failures."""
    rows = torch.linspace(0, len(files) - 1, min(sampled, len(files)), dtype=torch.float64)
    places = rows.long().tolist()

    def read(row: int) -> Header | DataError:
        try:
            with opened(files.path(row)) as image:
                header = Header.of(image)
                if whole:
                    check_whole(image)
        except DataError as error:
            return error
        return header

    def measure(row: int) -> int:
        try:
            with opened(files.path(row)) as image:
                values = deep_values(image)
        except DataError:  # the header was readable; whoever decodes the rest names the file
            return 0
        return 0 if values is None else largest_value(values)

    with strict_pillow(), ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        found = dict(zip(places, pool.map(read, places), strict=True))
        deep = [row for row, each in found.items() if isinstance(each, Header) and each.deep]
        measured = deep[:: max(1, len(deep) // _MEASURED)][:_MEASURED]
        bits = depth_of([0, *pool.map(measure, measured)])
    return Sample(
        tuple(each for each in found.values() if isinstance(each, Header)),
        len(files),
        tuple(each for each in found.values() if isinstance(each, DataError)),
        bits,
    )


def depth_used(train: Sample, test: Sample) -> int:
    """The bits by which deep images are scaled: those of training images, where any is deep."""
    return train.bits if train.findings.deep or not test.findings.deep else test.bits


def _check_strays(train: Path, beside: Sequence[str], boundary: Boundary | None) -> None:
    """Raise DataError for class folders beside the splits, and images beside class folders."""
    if any(map(is_image, list_folder(train, boundary))):
        raise DataError(
            f"{train}: found images beside its class folders; allowed: each image in the folder of "
            "its class"
        )
    # Beside a class `test` in train/, a flat test/ is a split without labels.
    beside = [name[:-1] for name in beside if name[:-1].lower() not in HELD_OUT]
    strays = sorted(set(beside) & set(folders_in(train, boundary)))
    if strays:
        raise DataError(
            f"{train.parent}: found class folders ({some(strays)}) beside {train.name}; allowed: "
            f"all of them in the splits, {WANTED}"
        )


def _counts(files: FileIndex, classes: int) -> tuple[int, ...]:
    return tuple(files.labels.bincount(minlength=classes).tolist())
