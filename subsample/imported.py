"""Reads subsets and scores that were made elsewhere, and checks them against the images.

Indices are places in the training split, from 0. Files are untrusted: their size is limited, and
nothing in them is executed.
"""

import csv
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from classification.data.datasets import ImageDataset
from classification.errors import ConfigError
from classification.persistence.untrusted_files import open_regular, read_regular
from subsample.selection import Subset, class_histogram
from subsample.subset_config import MIN_PER_CLASS

INDICES, SCORES = "subset.indices", "scores.file"  # keys, which open messages
_MAX_BYTES = 1 << 28  # of a file; ImageNet's list of paths takes 50 MB
_NPY = b"\x93NUMPY"
_SHOWN = 60  # characters of what was found

Lists = tuple[np.ndarray, np.ndarray | None]


def read_subset(path: Path, data: ImageDataset) -> Lists:
    """Read the images to keep, int64, ascending, and those for α and β only, if the file has both.

    A file is a subset.json or indices.csv written here, an array of integers (.npy), or a list: an
    index or, for images in files, a path below the root a line. Raises ConfigError, naming the
    line, for what does not fit the images; for an index that occurs twice; for a class that keeps
    too few images for a search.
    """
    start = _start(path, INDICES)
    number = len(data.train)
    if start.startswith(_NPY):
        lists: Lists = _integers(path), None
    elif start.lstrip().startswith(b"{"):
        subset = Subset.load(path)
        subset.check_against(data.content_hash, number)
        beside = subset.architecture_indices
        lists = np.array(subset.indices), None if beside is None else np.array(beside)
    elif b"place" in start.partition(b"\n")[0].split(b","):
        lists = _from_table(path, data)
    else:
        lists = np.array([index for _, index in _lines_of_indices(path, data)], np.int64), None
    _check_indices(path, lists, data)
    first, second = lists
    return np.sort(first), None if second is None else np.sort(second)


def read_values(path: Path, data: ImageDataset) -> np.ndarray:
    """Read one number for each training image, float64 [N].

    A file is an array (.npy), or text: a number a line in the order of the split, or `index value`,
    or `index value class` with the class's index or name. Raises ConfigError, naming the line.
    """
    number = len(data.train)
    if _start(path, SCORES).startswith(_NPY):
        with np.errstate(over="ignore"):  # a long double may become infinite, which is refused
            values = _array(path, SCORES, "fiu").astype(np.float64)
    else:
        values = _lines_of_values(path, data)
    if len(values) != number:
        raise ConfigError(
            f"{SCORES}: {path}: found {len(values):,} values; allowed: {number:,}, one for each "
            "training image"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ConfigError(
            f"{SCORES}: {path}: found {values[bad[0]]} for image {bad[0]}; allowed: finite numbers"
        )
    return values


def _start(path: Path, key: str) -> bytes:
    try:
        with open_regular(path, _MAX_BYTES) as file:
            return file.read(256)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{key}: {path}: cannot be read ({reason}); allowed: a file") from error


def _text(path: Path) -> str:
    # A file's name need not be UTF-8.
    return read_regular(path, _MAX_BYTES).decode("utf-8-sig", "surrogateescape")


def _array(path: Path, key: str, kinds: str) -> np.ndarray:
    """Read a one-dimensional array of the dtype kinds; its size is that of the file."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{key}: {path}: not a readable array ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise ConfigError(
            f"{key}: {path}: found {array.dtype} in {array.ndim} dimensions; allowed: "
            f"{'integers' if kinds == 'iu' else 'numbers'} in one"
        )
    return np.array(array)


def _integers(path: Path) -> np.ndarray:
    return _array(path, INDICES, "iu").astype(np.int64)


def _from_table(path: Path, data: ImageDataset) -> Lists:
    """Read the places, and what each is for, of a table exported here."""
    lists: dict[str, list[int]] = {"weights": [], "architecture": []}
    labels = data.train.labels
    for row in csv.DictReader(io.StringIO(_text(path))):
        place = _index(row.get("place") or "", path, len(lists["weights"]) + 2, len(labels))
        if row.get("label") not in (None, str(int(labels[place]))):
            raise ConfigError(
                f"{INDICES}: {path}: found label {row['label'][:_SHOWN]!r} for image {place}, "
                f"whose label is {int(labels[place])}; allowed: a table of these images"
            )
        trains = row.get("trains") or "weights"
        if trains not in lists:
            raise ConfigError(
                f"{INDICES}: {path}: found {trains[:_SHOWN]!r} in the column trains; allowed: "
                f"{', '.join(lists)}"
            )
        lists[trains].append(place)
    beside = np.array(lists["architecture"], np.int64) if lists["architecture"] else None
    return np.array(lists["weights"], np.int64), beside


def _lines_of_indices(path: Path, data: ImageDataset) -> Iterator[tuple[int, int]]:
    """Yield line numbers and the index on each, or that of the path on each."""
    places: dict[str, int] | None = None
    for line, words in _lines(path):
        if words.isascii() and words.isdigit():
            yield line, _index(words, path, line, len(data.train))
            continue
        if places is None and data.files is not None:
            places = {os.fsdecode(file): i for i, (file, _, _) in enumerate(data.files.entries())}
        place = None if places is None else places.get(words.removeprefix("./"))
        if place is None:
            allowed = "an index" if places is None else "an index, or a path below data.root"
            raise ConfigError(
                f"{INDICES}: {path}: line {line}: found {words[:_SHOWN]!r}; allowed: {allowed} "
                "of a training image"
            )
        yield line, place


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if (text := line.strip()) and not text.startswith("#"):
            yield number, text


def _index(text: str, path: Path, line: int, number: int, key: str = INDICES) -> int:
    digits = text if len(text) < 10 and text.isascii() and text.isdigit() else "-1"
    if not 0 <= (index := int(digits)) < number:
        raise ConfigError(
            f"{key}: {path}: line {line}: found index {text[:_SHOWN]!r}; allowed: 0 to {number - 1}"
        )
    return index


def _check_indices(path: Path, lists: Lists, data: ImageDataset) -> None:
    where = f"{INDICES}: {path}"
    every = np.concatenate([each for each in lists if each is not None])
    number, labels = len(data.train), data.train.labels.numpy()
    if not len(every):
        raise ConfigError(f"{where}: found no indices; allowed: those of the images to keep")
    if every.min() < 0 or every.max() >= number:
        outside = every[(every < 0) | (every >= number)][0]
        raise ConfigError(f"{where}: found index {outside}; allowed: 0 to {number - 1}")
    found, counts = np.unique(every, return_counts=True)
    if counts.max() > 1:
        raise ConfigError(f"{where}: found index {found[counts > 1][0]} twice; allowed: once")
    least = MIN_PER_CLASS if lists[1] is None else 1
    for each in lists:
        kept = {} if each is None else class_histogram(labels[each], data.classes)
        for name, count in kept.items():
            if count < least:
                halves = ", one for each half of the search" if least > 1 else " in each list"
                raise ConfigError(
                    f"{where}: keeps {count} images of class {name}; allowed: at least {least}"
                    f"{halves}"
                )


def _lines_of_values(path: Path, data: ImageDataset) -> np.ndarray:
    rows: list[tuple[int, list[str]]] = []
    for line, text in _lines(path):
        words = text.replace(",", " ").split(maxsplit=2)  # a class's name may contain blanks
        if not rows and not _is_number(words[0]):
            continue  # a header
        rows.append((line, words))
    width = len(rows[0][1]) if rows else 1  # value; index value; index value class
    values = np.full(len(rows), math.nan)
    seen = np.zeros(len(rows), bool)
    for place, (line, words) in enumerate(rows):
        if len(words) != width or not _is_number(words[min(1, width - 1)]):
            raise ConfigError(
                f"{SCORES}: {path}: line {line}: found {' '.join(words)[:_SHOWN]!r}; allowed: "
                f"{width} column{'s' * (width > 1)} with a number, as in the first line"
            )
        if width > 1:
            place = _index(words[0], path, line, len(data.train), SCORES)
            if place >= len(rows):
                continue  # too few lines, which the caller reports
            if seen[place]:
                raise ConfigError(
                    f"{SCORES}: {path}: line {line}: found index {place} twice; allowed: once"
                )
        if width == 3:
            _check_class(words[2], place, path, line, data)
        seen[place] = True
        values[place] = float(words[min(1, width - 1)])
    return values


def _check_class(text: str, place: int, path: Path, line: int, data: ImageDataset) -> None:
    label = int(data.train.labels[place])
    if text not in (str(label), data.classes[label]):
        raise ConfigError(
            f"{SCORES}: {path}: line {line}: found class {text[:_SHOWN]!r} for image {place}, "
            f"whose class is {label} ({data.classes[label]}); allowed: scores of these images"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
