"""What an image folder holds: its listing, and sizes from the headers of a sample."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from classification.data.decoding import opened, strict_pillow
from classification.data.file_index import FileIndex
from classification.data.folders import SUFFIXES, TESTS, TRAIN, is_image, list_folder, list_images
from classification.errors import DataError

SAMPLED = 1000  # headers of each split that are looked at: an open and a short read each
_READ_AT_ONCE = 16  # headers; it is the file system that is waited for
_SHARE = "move some images of each class, a fifth say, from train/<class>/ to test/<class>/"
_WANTED = "train/<class>/* beside val/<class>/* or test/<class>/*"
# Files that name the classes of a flat val/, where the data sets that have one keep them.
_VAL_LABELS = (
    "val/val_annotations.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "ILSVRC2012_validation_ground_truth.txt",
)
_OTHER_NAMES = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}
_GRAY = {"1", "L", "LA", "I", "F"}


@dataclass(frozen=True)
class FolderSurvey:
    """Classes, images a class, and the sizes of a sample of images, pixels.

    `sides` are the shorter sides of the sample, ascending; `gray` says whether none of it has
    colours. `whole` says whether the sample is all there is. `passed_over` are folders beside the
    splits that no loader reads.
    """

    root: Path
    test_split: str
    val_labels: Path | None
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    sides: tuple[int, ...]
    sizes: frozenset[tuple[int, int]]
    gray: bool
    whole: bool
    passed_over: tuple[str, ...]
    follow_links: bool

    @property
    def train_images(self) -> int:
        return sum(self.train_counts)

    @property
    def test_images(self) -> int:
        return sum(self.test_counts)

    def side(self, share: float) -> int:
        """The shorter side that a share of the sample does not reach: 0.5 for the median."""
        return self.sides[min(int(share * len(self.sides)), len(self.sides) - 1)]


def survey_folder(root: Path, sampled: int = SAMPLED, follow_links: bool = False) -> FolderSurvey:
    """List an image folder as its loader does, and look at `sampled` headers of each split.

    Raises DataError, in a line that says what to do, for what no loader accepts: no such layout,
    images beside class folders, a class with too few images; and for a header that cannot be read.
    """
    passed_over = _check_layout(root)
    val_labels = _val_labels(root)
    found = list_images(root, "data", val_labels=val_labels, follow_links=follow_links)
    classes = len(found.classes)
    splits = (found.train, found.test)
    headers = [header for files in splits for header in _headers(files, sampled)]
    return FolderSurvey(
        root=root,
        test_split=_test_split(root),
        val_labels=val_labels,
        classes=found.classes,
        train_counts=_counts(found.train, classes),
        test_counts=_counts(found.test, classes),
        sides=tuple(sorted(min(size) for size, _ in headers)),
        sizes=frozenset(size for size, _ in headers),
        gray=all(mode in _GRAY or mode.startswith("I;16") for _, mode in headers),
        whole=all(len(files) <= sampled for files in splits),
        passed_over=passed_over,
        follow_links=follow_links,
    )


def _headers(files: FileIndex, sampled: int) -> list[tuple[tuple[int, int], str]]:
    """Size and mode of files spread evenly over the index."""
    rows = torch.linspace(0, len(files) - 1, min(sampled, len(files)), dtype=torch.float64)

    def read(row: int) -> tuple[tuple[int, int], str]:
        with opened(files.path(row)) as image:
            return image.size, image.mode

    with strict_pillow(), ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        return list(pool.map(read, rows.long().tolist()))


def _counts(files: FileIndex, classes: int) -> tuple[int, ...]:
    return tuple(files.labels.bincount(minlength=classes).tolist())


def _check_layout(root: Path) -> tuple[str, ...]:
    """Raise DataError for a layout that is close to what is read, and say what to change.

    Returns the names of folders that are passed over.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; allowed: one that holds {_WANTED}")
    names = _folders(root)
    split = next((name for name in TESTS if name in names), None)
    if TRAIN in names and split is not None:
        beside = [name for name in names if name not in (TRAIN, *TESTS)]
        strays = sorted(set(beside) & set(_folders(root / TRAIN)))
        if strays:
            raise DataError(
                f"{root}: found class folders ({_some(strays)}) beside {TRAIN} and {split}; "
                f"allowed: all of them in the splits, {_WANTED}"
            )
        if _folders(root / TRAIN) and _images(root / TRAIN):
            raise DataError(
                f"{root / TRAIN}: found images beside its class folders; allowed: each image in "
                "the folder of its class"
            )
        return tuple(beside)
    raise DataError(f"{root}: {_what_is_missing(root, names)}")


def _what_is_missing(root: Path, names: Sequence[str]) -> str:
    for name in names:
        wanted = _OTHER_NAMES.get(name.lower(), name.lower())
        if name != wanted and wanted in (TRAIN, *TESTS) and wanted not in names:
            return f"found {name}; allowed: {_WANTED}; rename {name} to {wanted}"
    with_images = [name for name in names if _images(root / name)]
    if TRAIN in names:
        mixed = [name for name in with_images if name != TRAIN]
        found = f" but class folders ({_some(mixed)})" if mixed else ""
        return f"found train without val or test{found}; allowed: {_WANTED}; {_SHARE}"
    if with_images:
        return (
            f"found class folders ({_some(with_images)}) and no held-out images; allowed: "
            f"{_WANTED}; put the class folders into train/, then {_SHARE}"
        )
    deeper = next((name for name in names if TRAIN in _folders(root / name)), None)
    if deeper is not None:
        return f"found no train; allowed: {_WANTED}; did you mean {root / deeper}?"
    images = "images without class folders" if _images(root) else _some(names) or "nothing"
    return f"found {images}; allowed: {_WANTED} ({', '.join(SUFFIXES)})"


def _test_split(root: Path) -> str:
    """The held-out split that the loader takes."""
    return next(name for name in TESTS if name in _folders(root))


def _val_labels(root: Path) -> Path | None:
    """The file that names the classes of a flat split, relative to `root`, if there is one."""
    if len(_folders(root / _test_split(root))) > 1:
        return None
    return next((Path(name) for name in _VAL_LABELS if (root / name).is_file()), None)


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in list_folder(folder) if entry.is_dir()]


def _images(folder: Path) -> bool:
    """Whether there are images in `folder` itself."""
    return any(map(is_image, list_folder(folder)))


def _some(names: Sequence[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
