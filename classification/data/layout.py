"""Finds the splits of an image folder under the usual names, and lists its folders.

Training images lie in `train/` or `training/`, each in the folder of its class (or in that folder's
`images/`, as Tiny ImageNet has it). Held-out images lie in `val/`, `valid/`, `validation/`, `test/`
or `testing/`: in class folders too, or flat beside a file that names their classes. Without
held-out images a part of the training images is held out (`hold_out`); then the class folders may
also lie directly in the root. A folder that holds images but no class folders is a class, even if
its name is `train`, as in CIFAR-100.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from classification.data.config import DataConfig
from classification.errors import DataError

TRAIN, HELD_OUT = ("train", "training"), ("val", "valid", "validation", "test", "testing")
WANTED = "train/<class>/* beside val/<class>/* or test/<class>/*"
EVALUATED = "evaluated"  # the name of images that have no other, or several
NESTED = "images"  # where Tiny ImageNet keeps the images of a class, and those of its val/
# Files that name the classes of a flat val/, where the datasets that have one keep them.
_LABEL_FILES = (
    "{split}/val_annotations.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "ILSVRC2012_validation_ground_truth.txt",
)
# Formats of Pillow whose decoders are read from. Others run programs (EPS) or hold no photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "JPEG2000", "PCX", "PPM", "TIFF")


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


@dataclass(frozen=True)
class Layout:
    """The folders of `root` that hold a dataset.

    `held_out` is None where there are no held-out images whose classes are known; `missing` says
    then what would do. `val_labels` names the classes of a flat `held_out`. `passed_over` are the
    other folders of the root.
    """

    root: Path
    train: Path
    held_out: Path | None
    val_labels: Path | None
    passed_over: tuple[str, ...]
    missing: str = ""

    @property
    def evaluated(self) -> str:
        """The usual name of the split that is evaluated: val, test or, of hold_out, held-out."""
        if self.held_out is None:
            return "held-out"
        return "val" if self.held_out.name.lower().startswith("val") else "test"

    def describe(self) -> str:
        """Which folder was taken for which split."""
        train = "the class folders" if self.train == self.root else f"{self.train.name}/"
        if self.held_out is None:
            return f"train: {train}; held out: a part of each class"
        labels = f" (classes: {self.val_labels})" if self.val_labels else ""
        return f"train: {train}; held out: {self.held_out.name}/{labels}"


@cache
def suffixes() -> frozenset[str]:
    """The lower-case endings of the file names that are read, as Pillow registers them."""
    return frozenset(
        suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS
    )


def find_layout(config: DataConfig, key: str, boundary: Boundary | None) -> Layout:
    """The layout of `config.root`; `key` opens messages about settings.

    Raises DataError, in a line that says what to change, for a folder that is none of those that
    are read.
    """
    root = config.root
    assert root is not None  # DataConfig's validator
    if not root.is_dir():
        raise DataError(f"{key}.root: no folder {root}; allowed: one that holds {WANTED}")
    names = folders_in(root, boundary)
    candidates = _named(HELD_OUT, names)
    train = _training_split(root, names, boundary)
    if train is None:
        return _flat(root, names, candidates, key, boundary)
    held_out, labels = _held_out(root, candidates, config.val_labels, boundary)
    if held_out is None:
        _check_is_split(root, train, [name for name in names if name != train], boundary)
    used = {train, held_out.name if held_out else train}
    missing = "" if held_out else _missing(root, train, candidates, names, key, boundary)
    passed_over = tuple(f"{name}/" for name in names if name not in used)
    return Layout(root, root / train, held_out, labels, passed_over, missing)


def evaluated_name(config: DataConfig) -> str:
    """The usual name of the images that a network trained on `config` is evaluated on: test, val
    or, of hold_out, held-out. Of a folder that is no longer there it is not known: evaluated."""
    if config.kind != "folder":
        return "test"
    if config.hold_out is not None:
        return "held-out"
    try:
        return find_layout(config, "data", None).evaluated
    except DataError:
        return EVALUATED


def common_name(names: Iterable[str]) -> str:
    """The one name of the evaluated images of several runs; evaluated if they have several."""
    found = set(names)
    return found.pop() if len(found) == 1 else EVALUATED


def list_folder(folder: Path, boundary: Boundary | None = None) -> list[os.DirEntry[str]]:
    """The visible entries in sorted order. Raises DataError if they cannot be listed, or if one is
    a symbolic link that leads nowhere or out of the boundary."""
    try:
        with os.scandir(folder) as listing:
            found = sorted(
                (entry for entry in listing if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
        for entry in found:
            if entry.is_symlink():
                target = Path(entry.path).resolve(strict=True)
                if boundary is not None:
                    boundary.check(entry.path, target)
    except (OSError, RuntimeError) as error:  # a RuntimeError is a circle of links
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    return found


def folders_in(folder: Path, boundary: Boundary | None = None) -> list[str]:
    """The names of the visible folders in `folder`, sorted."""
    return [entry.name for entry in list_folder(folder, boundary) if entry.is_dir()]


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether the name of a file ends like that of an image; nothing is opened."""
    return os.path.splitext(entry.name)[1].lower() in suffixes() and entry.is_file()  # noqa: PTH122


def _holds_images(folder: Path, boundary: Boundary | None) -> bool:
    return any(map(is_image, list_folder(folder, boundary)))


def _named(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those of `names` that are `wanted`, in its order, whatever their case."""
    by_name = {name.lower(): name for name in names}  # of Train and train the latter
    return [by_name[name] for name in wanted if name in by_name]


def _training_split(root: Path, names: Sequence[str], boundary: Boundary | None) -> str | None:
    """The first folder under a usual name that is not the folder of a class."""
    found = _named(TRAIN, names)
    return next((name for name in found if not _is_class(root / name, boundary)), None)


def _is_class(folder: Path, boundary: Boundary | None) -> bool:
    """Whether a folder holds images and fewer folders than a split has classes."""
    found = list_folder(folder, boundary)
    inside = [entry.name for entry in found if entry.is_dir()]
    if inside == [NESTED] and _holds_images(folder / NESTED, boundary):
        return True
    return len(inside) < 2 and any(map(is_image, found))


def _check_is_split(
    root: Path, train: str, beside: Sequence[str], boundary: Boundary | None
) -> None:
    """Raise DataError for a `train` with images and folders beside class folders."""
    others = [name for name in beside if name.lower() not in HELD_OUT]
    classes = [name for name in others if _holds_images(root / name, boundary)]
    if classes and _holds_images(root / train, boundary):
        raise DataError(
            f"{root / train}: found images and folders, beside the class folders {some(classes)}; "
            "allowed: images alone if it is a class, class folders alone if it is a split"
        )


def _held_out(
    root: Path, candidates: Sequence[str], val_labels: Path | None, boundary: Boundary | None
) -> tuple[Path | None, Path | None]:
    """The first folder of held-out images whose classes are known, and the file that names them."""
    for name in candidates:
        if val_labels is not None:
            return root / name, val_labels
        inside = folders_in(root / name, boundary)
        if inside not in ([], [NESTED]) and not _is_class(root / name, boundary):
            return root / name, None
        found = find_label_file(root, name)
        if found is not None and not name.lower().startswith("test"):
            return root / name, found
    return None, None


def find_label_file(root: Path, split: str) -> Path | None:
    """The file, relative to `root`, that names the classes of the images in the flat `split`."""
    named = (Path(pattern.format(split=split)) for pattern in _LABEL_FILES)
    return next((path for path in named if (root / path).is_file()), None)


def _flat(
    root: Path,
    names: Sequence[str],
    candidates: Sequence[str],
    key: str,
    boundary: Boundary | None,
) -> Layout:
    """Class folders directly in the root, of which one may be named `train`. One named like a
    held-out split could as well be one whose images have no labels."""
    classes = [name for name in names if _holds_images(root / name, boundary)]
    classes = classes or [name for name in names if _is_class(root / name, boundary)]
    others = [name for name in classes if name.lower() not in (*TRAIN, *HELD_OUT)]
    unclear = [name for name in candidates if name in classes]
    if classes and not others:
        raise DataError(
            f"{root / classes[0]}: found images outside of class folders; allowed: {WANTED}"
        )
    if unclear:
        raise DataError(
            f"{root}: found class folders ({some(others)}) beside {unclear[0]}/, a class or images "
            f"without labels; allowed: without {unclear[0]}/; or, if it is a class, class folders "
            f"in a folder train/, and {key}.root the folder that holds it"
        )
    if len(classes) > 1:
        missing = (
            f"{root}: found class folders ({some(classes)}) and no held-out images; allowed: "
            f"{key}.hold_out, the share of each class to hold out, e.g. 0.2; or {WANTED}"
        )
        rest = tuple(f"{name}/" for name in names if name not in classes)
        return Layout(root, root, None, None, rest, missing)
    inner = ((name, folders_in(root / name, boundary)) for name in names)
    deeper = next((n for n, inside in inner if _training_split(root / n, inside, boundary)), None)
    if deeper is not None:
        raise DataError(f"{root}: found no train; allowed: {WANTED}; did you mean {root / deeper}?")
    loose = "images without class folders" if _holds_images(root, boundary) else ""
    raise DataError(f"{root}: found {loose or some(names) or 'nothing'}; allowed: {WANTED}")


def _missing(
    root: Path,
    train: str,
    candidates: Sequence[str],
    names: Sequence[str],
    key: str,
    boundary: Boundary | None,
) -> str:
    """Why no folder beside `train` serves as the held-out split, and what would do."""
    flat = [name for name in candidates if _holds_images(root / name, boundary)]
    flat += [name for name in candidates if NESTED in folders_in(root / name, boundary)]
    offer = f"{key}.hold_out, the share of each class of {train}/ to hold out, e.g. 0.2"
    if flat:
        return (
            f"{root / flat[0]}: found images but no class folders; allowed: class folders as in "
            f"{train}/; or {key}.val_labels, a file that names the class of each image; or {offer}"
        )
    if candidates:
        return (
            f"{root / candidates[0]}: found no class folders; allowed: those of {train}/; or, "
            f"without that folder, {offer}"
        )
    found = some([name for name in names if name != train])
    return (
        f"{root}: found {train}/ without held-out images{f' but {found}' if found else ''}; "
        f"allowed: {offer}; or {WANTED}"
    )


def some(names: Sequence[str], shown: int = 3) -> str:
    """The first of some names, for a message."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
