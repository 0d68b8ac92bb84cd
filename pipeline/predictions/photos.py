"""Finds the images to predict: named files, folders with their sub-folders, labelled folders."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from classification.data.folders import PASSED_FOLDERS, describe_passed_over
from classification.data.layout import NESTED, find_label_file, some, suffixes
from classification.data.val_labels import read_labels
from classification.errors import ConfigError, DataError

_SHOWN = 10  # class names in a message


@dataclass(frozen=True)
class Photos:
    """Image files, the class index of each if it is known, and a line on files passed over."""

    files: Sequence[Path]
    labels: Sequence[int] | None = None
    notes: Sequence[str] = field(default_factory=list)


def find_photos(paths: Sequence[Path]) -> Photos:
    """Find image files: each named file, and all images in each named folder and its sub-folders.

    Hidden files are left out, and links to folders are not followed. Raises ConfigError for a path
    that does not exist, DataError for folders without an image.
    """
    files, passed_over = list[Path](), Counter[str]()
    for path in paths:
        if path.is_dir():
            found = _walk(path, passed_over)
            if not found:
                raise _empty(path, passed_over)
            files += found
        elif os.path.lexists(path):
            files.append(path)
        else:
            raise ConfigError(f"IMAGE: no file or folder {path}; allowed: an image or a folder")
    return Photos(files, notes=_notes(passed_over))


def find_labelled(folder: Path, classes: Sequence[str], label_file: Path | None = None) -> Photos:
    """Find the images of a folder that is laid out like val/: in class folders, or flat beside a
    file that names the class of each image, which is `label_file` or found by its usual name.

    Raises DataError for classes that are not among `classes`, and for a folder without images.
    """
    if not folder.is_dir():
        raise ConfigError(f"--labels: {folder} is not a folder; allowed: one laid out like val/")
    passed_over = Counter[str]()
    names, images = _entries(folder, passed_over)
    if label_file is None and names and names != [NESTED]:
        found = _in_class_folders(folder, names, classes, passed_over)
        loose = [f"passed over: images outside of class folders: {some(_names(images))}"]
        return replace(found, notes=[*found.notes, *(loose if images else [])])
    if not images and names == [NESTED]:
        images = _entries(folder / NESTED, passed_over)[1]
    if not images:
        raise _empty(folder, passed_over)
    if label_file is None:
        root = folder.resolve().parent
        named = find_label_file(root, folder.resolve().name)
        if named is None:
            raise DataError(
                f"{folder}: found images but no class folders; allowed: class folders "
                f"({some(classes)}), or --label-file, a file that names the class of each image"
            )
        label_file = root / named
    labels = read_labels(label_file, _names(images), classes, every_class=False)
    beside = [] if names in ([], [NESTED]) else [f"passed over: the folders {some(names)}"]
    return Photos(images, labels, _notes(passed_over) + beside)


def _in_class_folders(
    folder: Path, names: Sequence[str], classes: Sequence[str], passed_over: Counter[str]
) -> Photos:
    known = {name: label for label, name in enumerate(classes)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"{folder}: found the class folders {some(unknown)}, which the network does not know; "
            f"allowed: {some(classes, _SHOWN)}"
        )
    files, labels = list[Path](), list[int]()
    for name in names:
        inner, images = _entries(folder / name, passed_over)
        if not images and NESTED in inner:
            images = _entries(folder / name / NESTED, passed_over)[1]
            inner.remove(NESTED)
        passed_over[PASSED_FOLDERS] += len(inner)
        files += images
        labels += [known[name]] * len(images)
    if not files:
        raise _empty(folder, passed_over)
    return Photos(files, labels, _notes(passed_over))


def _walk(folder: Path, passed_over: Counter[str]) -> list[Path]:
    names, images = _entries(folder, passed_over)
    inner = [folder / name for name in names if not (folder / name).is_symlink()]
    return images + [image for each in inner for image in _walk(each, passed_over)]


def _entries(folder: Path, passed_over: Counter[str]) -> tuple[list[str], list[Path]]:
    """Visible folders, and files whose names end like those of images; both sorted by name."""
    names, images = list[str](), list[Path]()
    try:
        with os.scandir(folder) as listing:
            found = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in found:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            names.append(entry.name)
        elif path.suffix.lower() in suffixes():
            images.append(path)
        else:
            passed_over[path.suffix.lower()] += 1
    return names, images


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; as an image it is named as unreadable
        return False


def _names(files: Sequence[Path]) -> list[str]:
    return [file.name for file in files]


def _notes(passed_over: Counter[str]) -> list[str]:
    return [f"passed over: {describe_passed_over(passed_over)}"] if passed_over.total() else []


def _empty(folder: Path, passed_over: Counter[str]) -> DataError:
    beside = "".join(f"; {note}" for note in _notes(passed_over))
    return DataError(
        f"{folder}: found no images, allowed: at least 1 (.png, .jpg, .webp, .bmp, .tif, …){beside}"
    )
