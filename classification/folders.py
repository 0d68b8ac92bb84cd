"""Image folders: `train/<class>/*` beside `val/<class>/*` or `test/<class>/*`, listed and decoded.

Classes and files come in sorted order. Hidden files, sub-folders of a class and files of other
kinds are passed over. `val/*` without class folders needs a file that names its classes.
"""

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from classification.errors import ConfigError, DataError
from classification.file_index import FileIndex, FolderFiles, IndexCache
from classification.regular_file import open_regular
from classification.val_labels import read_labels

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Named by content too, so that a disguised file reaches none of Pillow's other decoders.
_FORMATS = ("PNG", "JPEG", "WEBP")
_TRAIN, _TESTS = "train", ("val", "test")
_FLAT = "images"  # where Tiny ImageNet's val has its images
_MAX_FILE_BYTES = 1 << 29  # of an image; what Pillow takes for a bomb has more pixels than that
_CHUNK = 256  # images a thread takes at a time
_LISTED_AT_ONCE = 8  # folders; it is the file system that is waited for
_UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


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
) -> ImageFolder:
    """List the first `classes` classes, and of train the first `images_per_class` images of each.

    `val` is the test split where both it and `test` exist (ImageNet's `test` has no labels).
    `val_labels`, relative to `root`, names the classes of its images where it has no class folders.
    `key` opens messages about settings. Raises DataError if a folder is missing or empty, a class
    has too few images or stands in one split only, or a symbolic link leads out of `root`;
    ConfigError if there are fewer classes than asked for.
    """
    if not root.is_dir():
        raise DataError(f"{key}.root: no folder {root}; allowed: one that holds train/<class>/*")
    splits = {entry.name for entry in _entries(root, root) if entry.is_dir()}
    test_name = next((name for name in _TESTS if name in splits), None)
    if _TRAIN not in splits or test_name is None:
        found = ", ".join(sorted(splits)) or "no folders"
        raise DataError(f"{root}: found {found}; allowed: train beside val or test")
    train, test = root / _TRAIN, root / test_name
    names = _class_names(train, root)
    if val_labels is None:
        hint = f"; or {key}.val_labels, a file that names the class of each of its images"
        _check_same_classes(names, train, _class_names(test, root, hint), test)
    if classes is not None and classes > len(names):
        raise ConfigError(
            f"{key}.classes: found {classes}, allowed: at most {len(names)}, which is what "
            f"{train} holds"
        )
    kept = names[:classes]
    return ImageFolder(
        tuple(kept),
        _list_split(train, kept, root, at_least=2, at_most=images_per_class),
        _list_split(test, kept, root, at_least=1, at_most=None)
        if val_labels is None
        else _list_flat(test, root, names, len(kept), root / val_labels, key),
    )


def decode_images(paths: Sequence[Path], image_size: int, resize: bool = True) -> Tensor:
    """Decode files to uint8 [N, 3, image_size, image_size] in a pool of threads.

    The shorter side is brought to `image_size` and the middle kept; without `resize` every image
    must have that size already. Raises DataError naming the file that cannot be used.
    """
    images = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)

    def decode(start: int) -> None:
        for i in range(start, min(start + _CHUNK, len(paths))):
            image = read_image(paths[i], 2 * image_size if resize else None)
            if image.size != (image_size, image_size):
                if not resize:
                    raise _unfit(paths[i], image.size)
                image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
            images[i] = np.asarray(image).transpose(2, 0, 1)

    with strict_pillow(), ThreadPoolExecutor() as pool:
        for _ in pool.map(decode, range(0, len(paths), _CHUNK)):
            pass
    return torch.from_numpy(images)


def native_size(path: Path) -> int:
    """The side of a square image. Raises DataError if it is unreadable or not square."""
    with strict_pillow(), opened(path) as image:
        size = image.size
    if size[0] != size[1]:
        raise _unfit(path, size)
    return size[0]


def read_image(path: Path, sufficient_side: int | None = None) -> Image.Image:
    """Decode a PNG, JPEG or WebP file to RGB: grayscale and palettes too; transparency is dropped.

    A JPEG may come at a half, a quarter or an eighth of its size, but with no side under
    `sufficient_side`. Raises DataError naming the file if it is none of these or not whole.
    """
    with opened(path) as image:
        if sufficient_side is not None:
            image.draft(None, (sufficient_side, sufficient_side))
        return to_rgb(image)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A PNG, JPEG or WebP file whose pixels wait to be asked for.

    Raises DataError naming the file if it is none of these or turns out not to be whole.
    """
    with (
        _readable(path),
        open_regular(path, _MAX_FILE_BYTES) as file,
        Image.open(file, formats=_FORMATS) as image,
    ):
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """The pixels of an image of any mode as RGB."""
    if image.mode.startswith("I;16"):  # Pillow would clip at 255 instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Pillow's warning of a decompression bomb is an error; what it says of metadata is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """The visible entries in sorted order; links may not leave `root`."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(
                (entry for entry in found if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
        for entry in entries:
            if entry.is_symlink():
                target = Path(entry.path).resolve(strict=True)
                if not target.is_relative_to(root.resolve()):
                    raise DataError(
                        f"{entry.path}: links to {target}; allowed: links that stay inside {root}"
                    )
    except (OSError, RuntimeError) as error:  # a RuntimeError is a circle of links
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    return entries


def _class_names(split: Path, root: Path, hint: str = "") -> list[str]:
    """The class folders; `hint` says what else would do if there are images instead."""
    entries = _entries(split, root)
    names = [entry.name for entry in entries if entry.is_dir()]
    if len(names) < 2:
        flat = names in ([], [_FLAT]) and (names or any(map(_is_image, entries)))
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
    split: Path, names: Sequence[str], root: Path, at_least: int, at_most: int | None
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
            listings = pool.map(lambda folder: _images_of(root / folder, root, at_most), folders)
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
    split: Path, root: Path, names: Sequence[str], classes: int, labels_file: Path, key: str
) -> FileIndex:
    """The images of the first `classes` of `names` in a split without class folders."""
    files, folder = _images_of(split, root), split
    if not files.names and (split / _FLAT).is_dir():
        folder = split / _FLAT
        files = _images_of(folder, root)
    if not files.names:
        raise DataError(
            f"{split}: found no images, allowed: at least 1 a class; if it holds class folders, "
            f"leave out {key}.val_labels"
        )
    labels = torch.tensor(read_labels(labels_file, files.names, names))
    index = FileIndex.of(root, [folder.relative_to(root).as_posix()], [files]).labelled(labels)
    return index.take((labels < classes).nonzero().flatten())


def _images_of(folder: Path, root: Path, at_most: int | None = None) -> FolderFiles:
    """The first `at_most` images that lie in `folder` itself."""
    images = list(islice(filter(_is_image, _entries(folder, root)), at_most))
    try:
        sizes = [entry.stat().st_size for entry in images]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    linked = any(entry.is_symlink() for entry in images)
    return FolderFiles([entry.name for entry in images], sizes, linked)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES) and entry.is_file()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else " ".join(str(error).split())
        raise DataError(
            f"{path}: unreadable ({reason}); allowed: a whole PNG, JPEG or WebP image"
        ) from error


def _unfit(path: Path, size: tuple[int, int]) -> DataError:
    return DataError(
        f"{path}: found {size[0]}×{size[1]} pixels; allowed: one square size for all images, or "
        "any with image_size set"
    )
