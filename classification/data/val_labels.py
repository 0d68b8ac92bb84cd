"""Labels of a flat `val/` folder, read from the file that lists them.

A line is `<file> <class>` with a tab, a comma or blanks between, and what follows is passed over:
Tiny ImageNet's val_annotations.txt, Kaggle's LOC_val_solution.csv, Caffe's val.txt. A class is the
name of its folder or its place among them, from 0. Or a line is one number, and the lines follow
the files by name: ILSVRC2012_validation_ground_truth.txt, beside whose meta.mat the number is a
class's ILSVRC2012_ID.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from classification.errors import DataError
from classification.persistence.untrusted_files import memory_limit, open_regular, read_regular

META = "meta.mat"
_MAX_DIGITS = 9
_MAX_BYTES = 1 << 26  # of a file; ImageNet's take a few MB
_MAX_MEMORY = 1 << 28  # bytes, for what a meta.mat unpacks to
_SHOWN = 60  # characters of what was found


def read_labels(
    path: Path, images: Sequence[str], classes: Sequence[str], every_class: bool = True
) -> list[int]:
    """The class index of each of `images`, file names in order, by the file at `path`.

    `classes` are the names of all class folders, in order; with `every_class` each needs an image.
    Raises DataError naming the file and
    the line if one names no image or class, if an image has no line or two, or a class no image.
    """
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); allowed: a text file") from error
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and all(_is_number(line) for _, line in lines):
        labels = _by_order(path, lines, len(images), classes)
    else:
        labels = _by_name(path, lines, images, classes)
    found = set(labels.values())
    for label, name in enumerate(classes):
        if every_class and label not in found:
            raise DataError(f"{path}: names no image of class {name}, allowed: at least 1")
    return [labels[i] for i in range(len(images))]


def _by_name(
    path: Path, lines: Sequence[tuple[int, str]], images: Sequence[str], classes: Sequence[str]
) -> dict[int, int]:
    # Kaggle's files leave out the suffix.
    places = {Path(name).stem: i for i, name in enumerate(images)}
    places |= {name: i for i, name in enumerate(images)}
    known = {name: i for i, name in enumerate(classes)}
    labels: dict[int, int] = {}
    for position, (number, line) in enumerate(lines):
        file, label_text = _columns(line)
        place = places.get(file.rsplit("/", 1)[-1])
        label = _label(label_text, known)
        if position == 0 and place is None and label is None:
            continue  # a header
        where = f"{path}: line {number}"
        if label is None:
            raise DataError(
                f"{where}: found class {label_text[:_SHOWN]!r}; allowed: the name of a class "
                f"folder of train, or a number from 0 to {len(classes) - 1}"
            )
        if place is None:
            raise DataError(f"{where}: no image {file[:_SHOWN]!r}; allowed: those of val")
        if place in labels:
            raise DataError(f"{where}: {file[:_SHOWN]!r} again; allowed: one line an image")
        labels[place] = label
    for place, image in enumerate(images):
        if place not in labels:
            raise DataError(f"{path}: no line for {image}; allowed: a line for every image of val")
    return labels


def _by_order(
    path: Path, lines: Sequence[tuple[int, str]], count: int, classes: Sequence[str]
) -> dict[int, int]:
    if len(lines) != count:
        raise DataError(f"{path}: found {len(lines)} lines, allowed: {count}, one an image of val")
    names = _names_by_number(path.with_name(META))
    known = {name: i for i, name in enumerate(classes)}
    labels = {}
    for place, (number, line) in enumerate(lines):
        name = names.get(int(line))
        if name not in known:
            found = "which is no class" if name is None else f"{name}, which train does not hold"
            raise DataError(
                f"{path}: line {number}: found {line}, by {META} {found}; allowed: the "
                "number of a class of train"
            )
        labels[place] = known[name]
    return labels


def _names_by_number(path: Path) -> Mapping[int, str]:
    """WNID by ILSVRC2012_ID, by the devkit's meta.mat."""
    from scipy.io import loadmat  # slow to import, and needed for this file alone

    try:
        with open_regular(path, _MAX_BYTES) as file, memory_limit(_MAX_MEMORY):
            found = loadmat(file, squeeze_me=True, variable_names=["synsets"])
        synsets = np.atleast_1d(found["synsets"])
        pairs = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)
        return {int(number): str(name) for number, name in pairs}
    # The reader has no exception of its own for a damaged file: it shows as nearly any.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if path.exists() else "absent"
        raise DataError(
            f"{path}: unreadable ({reason}); allowed: the devkit's file beside its ground truth, "
            "or lines with a file and a class"
        ) from error


def _columns(line: str) -> tuple[str, str]:
    """The first two columns; the second is empty if there is one alone."""
    separator = next((mark for mark in "\t," if mark in line), None)
    first, *others = (part.strip() for part in line.split(separator, 2))
    return first, others[0] if others else ""


def _label(text: str, known: Mapping[str, int]) -> int | None:
    for name in (text, *text.split()[:1]):  # Kaggle's second column goes on with a box
        if name in known:
            return known[name]
        if _is_number(name) and int(name) < len(known):
            return int(name)
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
