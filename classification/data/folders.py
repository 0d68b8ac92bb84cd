"""Lists image folders: `train/<class>/*` beside `val/<class>/*` or `test/<class>/*`.

Classes and files come in sorted order. Hidden files, sub-folders of a class and files of other
kinds are passed over. `val/*` without class folders needs a file that names its classes.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from classification.data.file_index import FileIndex, FolderFiles, IndexCache
from classification.data.val_labels import read_labels
from classification.errors import ConfigError, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
TRAIN, TESTS = "train", ("val", "test")
_FLAT = "images"  # where Tiny ImageNet's val has its images
_LISTED_AT_ONCE = 8  # folders; it is the file system that is waited for


@dataclass(frozen=True)
class ImageFolder:
    """What lies in an image folder: class names and the files of both splits."""

    classes: tuple[str, ...]
    train: FileIndex
    test: FileIndex


def list_images(
    root: Path,
    key: str,
    classes: int | None = None,
    images_per_class: int | None = None,
    val_labels: Path | None = None,
    follow_links: bool = False,
) -> ImageFolder:
    """List the first `classes` classes, and of train the first `images_per_class` images of each.

    `val` is the test split where both it and `test` exist (ImageNet's `test` has no labels).
    `val_labels`, relative to `root`, names the classes of its images where it has no class folders.
    `key` opens messages about settings. Raises DataError if a folder is missing or empty, a class
    has too few images or stands in one split only, or a symbolic link leads out of `root` and
    `follow_links` does not allow it; ConfigError if there are fewer classes than asked for.
    """
    if not root.is_dir():
        raise DataError(f"{key}.root: no folder {root}; allowed: one that holds train/<class>/*")
    boundary = None if follow_links else Boundary(root, f"{key}.follow_links")
    splits = {entry.name for entry in list_folder(root, boundary) if entry.is_dir()}
    test_name = next((name for name in TESTS if name in splits), None)
    if TRAIN not in splits or test_name is None:
        found = ", ".join(sorted(splits)) or "no folders"
        raise DataError(f"{root}: found {found}; allowed: train beside val or test")
    train, test = root / TRAIN, root / test_name
    names = _class_names(train, boundary)
    if val_labels is None:
        hint = f"; or {key}.val_labels, a file that names the class of each of its images"
        _check_same_classes(names, train, _class_names(test, boundary, hint), test)
    if classes is not None and classes > len(names):
        raise ConfigError(
            f"{key}.classes: found {classes}, allowed: at most {len(names)}, which is what "
            f"{train} holds"
        )
    kept = names[:classes]
    return ImageFolder(
        tuple(kept),
        _list_split(train, kept, root, boundary, at_least=2, at_most=images_per_class),
        _list_split(test, kept, root, boundary, at_least=1, at_most=None)
        if val_labels is None
        else _list_flat(test, root, boundary, names, len(kept), root / val_labels, key),
    )


@dataclass(frozen=True)
class Boundary:
    """Where symbolic links have to stay, and the setting, if any, that lets them go further."""

    root: Path
    setting: str = ""

    def check(self, link: str, target: Path) -> None:
        """Raise DataError if `link` leads out of the root."""
        if not target.is_relative_to(self.root.resolve()):
            instead = f", or {self.setting} true" if self.setting else ""
            raise DataError(
                f"{link}: links to {target}; allowed: links that stay inside {self.root}{instead}"
            )


def list_folder(folder: Path, boundary: Boundary | None = None) -> list[os.DirEntry[str]]:
    """The visible entries in sorted order.

    Raises DataError, naming the folder, if it cannot be listed, or for a link beyond `boundary`.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(
                (entry for entry in found if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
        for entry in entries:
            if entry.is_symlink():
                target = Path(entry.path).resolve(strict=True)
                if boundary is not None:
                    boundary.check(entry.path, target)
    except (OSError, RuntimeError) as error:  # a RuntimeError is a circle of links
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    return entries


def _class_names(split: Path, boundary: Boundary | None, hint: str = "") -> list[str]:
    """The class folders; `hint` says what else would do if there are images instead."""
    entries = list_folder(split, boundary)
    names = [entry.name for entry in entries if entry.is_dir()]
    if len(names) < 2:
        flat = names in ([], [_FLAT]) and (names or any(map(is_image, entries)))
        found = f"{len(names)} class folders" + (" but images" if flat and not names else "")
        raise DataError(f"{split}: found {found}, allowed: at least 2{hint if flat else ''}")
    return names


def _check_same_classes(train: list[str], folder: Path, test: list[str], test_folder: Path) -> None:
    for name in sorted(set(train) ^ set(test)):
        here, there = (folder, test_folder) if name in train else (test_folder, folder)
        raise DataError(
            f"{here / name}: no such class in {there}; allowed: the same classes in both"
        )


def _list_split(
    split: Path,
    names: Sequence[str],
    root: Path,
    boundary: Boundary | None,
    at_least: int,
    at_most: int | None,
) -> FileIndex:
    """The first `at_most` images of each class folder, by what is kept of an earlier listing."""
    folders = [f"{split.name}/{name}" for name in names]
    cache = IndexCache(root, split.name, folders, at_most)
    kept = cache.load()
    if kept is not None:
        return kept
    linked = False

    def found() -> Iterator[FolderFiles]:
        nonlocal linked
        with ThreadPoolExecutor(_LISTED_AT_ONCE) as pool:
            listings = pool.map(lambda folder: images_in(root / folder, boundary, at_most), folders)
            for name, files in zip(names, listings, strict=True):
                if len(files.names) < at_least:
                    raise DataError(
                        f"{split / name}: found {len(files.names)} images, allowed: at least "
                        f"{at_least} ({', '.join(SUFFIXES)})"
                    )
                linked |= files.linked
                yield files

    index = FileIndex.of(root, folders, found())
    if not linked:  # where links lead is looked at every time
        cache.save(index)
    return index


def _list_flat(
    split: Path,
    root: Path,
    boundary: Boundary | None,
    names: Sequence[str],
    classes: int,
    labels_file: Path,
    key: str,
) -> FileIndex:
    """The images of the first `classes` of `names` in a split without class folders."""
    files, folder = images_in(split, boundary), split
    if not files.names and (split / _FLAT).is_dir():
        folder = split / _FLAT
        files = images_in(folder, boundary)
    if not files.names:
        raise DataError(
            f"{split}: found no images, allowed: at least 1 a class; if it holds class folders, "
            f"leave out {key}.val_labels"
        )
    labels = torch.tensor(read_labels(labels_file, files.names, names))
    index = FileIndex.of(root, [folder.relative_to(root).as_posix()], [files])
    index = replace(index, labels=labels)
    return index.take((labels < classes).nonzero().flatten())


def images_in(folder: Path, boundary: Boundary | None, at_most: int | None = None) -> FolderFiles:
    """The first `at_most` images in `folder` itself. Raises DataError as `list_folder` does."""
    images = list(islice(filter(is_image, list_folder(folder, boundary)), at_most))
    try:
        sizes = [entry.stat().st_size for entry in images]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    linked = any(entry.is_symlink() for entry in images)
    return FolderFiles([entry.name for entry in images], sizes, linked)


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file with the name of an image."""
    return entry.name.lower().endswith(SUFFIXES) and entry.is_file()
