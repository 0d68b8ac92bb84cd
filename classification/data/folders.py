"""Lists image folders: class names, and the files of both splits.

Classes and files come in sorted order. Hidden files are passed over; sub-folders of a class, and
files whose names do not end like an image's, are passed over and counted. `layout` says which
folders are looked at.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from classification.data.config import DataConfig
from classification.data.file_index import FileIndex, FolderFiles, IndexCache
from classification.data.layout import (
    NESTED,
    Boundary,
    Layout,
    find_layout,
    folders_in,
    is_image,
    list_folder,
    some,
)
from classification.data.strata import first_of_each_class
from classification.data.val_labels import read_labels
from classification.errors import ConfigError, DataError
from classification.seeding import make_generator

_LISTED_AT_ONCE = 8  # folders; it is the file system that is waited for
_LEAST_TRAIN = 2  # images of a class: one for each half of a search
PASSED_FOLDERS = "/"  # in the place of an ending: sub-folders of classes that are passed over


@dataclass(frozen=True)
class ImageFolder:
    """What lies in an image folder: class names and the files of both splits.

    `whole` is the index from which `train` was taken: all images of the training folders.
    """

    layout: Layout
    classes: tuple[str, ...]
    whole: FileIndex
    train: FileIndex
    test: FileIndex

    def notes(self) -> list[str]:
        """What a person should know of how the folder was read, a line each."""
        lines = [self.layout.describe()]
        if self.layout.passed_over:
            lines.append(f"passed over: {', '.join(self.layout.passed_over)}")
        counts = Counter(self.whole.passed_over)
        if self.layout.held_out is not None:
            counts.update(self.test.passed_over)
        if counts:
            lines.append(f"passed over: {describe_passed_over(counts)}")
        return lines


def describe_passed_over(counts: Mapping[str, int]) -> str:
    """`3 files (.txt 2, .xyz 1), 1 folder`."""
    kinds = sorted(counts.keys() - {PASSED_FOLDERS}, key=lambda kind: (-counts[kind], kind))
    files, folders = sum(counts[kind] for kind in kinds), counts.get(PASSED_FOLDERS, 0)
    listed = some([f"{kind or 'no ending'} {counts[kind]:,}" for kind in kinds], 5)
    parts = [f"{files:,} file{'s' * (files != 1)} ({listed})"] if files else []
    parts += [f"{folders:,} folder{'s' * (folders != 1)} in class folders"] if folders else []
    return ", ".join(parts)


def list_images(config: DataConfig, key: str = "data") -> ImageFolder:
    """List the folder that `config` names: its first `classes` classes, and of each class the first
    `images_per_class` training images, those held out left aside.

    `key` opens messages about settings. Raises DataError if a folder is missing or empty, a class
    has too few images or is in one split only, or a symbolic link leads out of the root and
    `follow_links` does not allow it; ConfigError if there are fewer classes than asked for, or
    settings that this folder cannot honour.
    """
    assert config.root is not None  # DataConfig's validator
    boundary = None if config.follow_links else Boundary(config.root, f"{key}.follow_links")
    layout = find_layout(config, key, boundary)
    return _Lister(config, key, layout, boundary).both_splits()


class _Lister:
    """One listing of a layout under a config."""

    def __init__(
        self, config: DataConfig, key: str, layout: Layout, boundary: Boundary | None
    ) -> None:
        self._config, self._key, self._layout, self._boundary = config, key, layout, boundary

    def both_splits(self) -> ImageFolder:
        config, layout = self._config, self._layout
        if layout.held_out is None and config.hold_out is None:
            raise DataError(layout.missing)
        if layout.held_out is not None and config.hold_out is not None:
            raise ConfigError(
                f"{self._key}.hold_out: found {config.hold_out} beside {layout.held_out}; allowed: "
                "none where there are held-out images"
            )
        names = self._class_names(layout.train)
        if layout.train == layout.root:
            names = [name for name in names if f"{name}/" not in layout.passed_over]
        by_folder = layout.held_out is not None and layout.val_labels is None
        if by_folder:
            assert layout.held_out is not None
            _check_same_classes(
                names, layout.train, self._class_names(layout.held_out), layout.held_out
            )
        if config.classes is not None and config.classes > len(names):
            raise ConfigError(
                f"{self._key}.classes: found {config.classes}, allowed: at most {len(names)}, "
                f"which is what {layout.train} holds"
            )
        kept = names[: config.classes]
        if layout.held_out is None:
            whole = self._list_split(layout.train, kept, at_least=_LEAST_TRAIN + 1, at_most=None)
            train, test = self._deal(whole, kept)
        else:
            most = config.images_per_class
            whole = train = self._list_split(
                layout.train, kept, at_least=_LEAST_TRAIN, at_most=most
            )
            test = (
                self._list_split(layout.held_out, kept, at_least=1, at_most=None)
                if by_folder
                else self._list_flat(layout.held_out, names, len(kept))
            )
        return ImageFolder(layout, tuple(kept), whole, train, test)

    def _deal(self, whole: FileIndex, names: Sequence[str]) -> tuple[FileIndex, FileIndex]:
        """Training and held-out images, dealt out by chance within each class, whatever the other
        classes are: what is held out of some classes is held out of all."""
        share, seed = self._config.hold_out, self._config.hold_out_seed
        assert share is not None  # `both_splits` refuses otherwise
        is_held_out, first = torch.zeros(len(whole), dtype=torch.bool), 0
        for name, count in zip(names, whole.labels.bincount().tolist(), strict=True):
            number = max(1, round(share * count))
            if count - number < _LEAST_TRAIN:
                raise DataError(
                    f"{self._key}.hold_out: {share:g} leaves {count - number} of the {count} "
                    f"images of class {name} to train on; allowed: a share that leaves "
                    f"{_LEAST_TRAIN}"
                )
            generator = make_generator(seed, f"hold-out {os.fsencode(name).hex()}")
            order = torch.randperm(count, generator=generator)
            is_held_out[first + order[:number]] = True
            first += count
        train = whole.take((~is_held_out).nonzero().flatten())
        kept = first_of_each_class(train.labels, None, self._config.images_per_class)
        return train.take(kept), whole.take(is_held_out.nonzero().flatten())

    def _class_names(self, split: Path) -> list[str]:
        names = folders_in(split, self._boundary)
        if len(names) < 2:
            raise DataError(f"{split}: found {len(names)} class folders, allowed: at least 2")
        return names

    def _list_split(
        self, split: Path, names: Sequence[str], at_least: int, at_most: int | None
    ) -> FileIndex:
        """The first `at_most` images of each class folder, from the cached listing if it holds."""
        root, boundary = self._layout.root, self._boundary
        inner = f"/{NESTED}" if self._is_nested(split / names[0]) else ""
        above = "" if split == root else f"{split.name}/"
        folders = [f"{above}{name}{inner}" for name in names]
        cache = IndexCache(root, split.name, folders, at_most)
        kept = cache.load()
        if kept is not None:
            return kept
        linked = False

        def found() -> Iterator[FolderFiles]:
            nonlocal linked
            with ThreadPoolExecutor(_LISTED_AT_ONCE) as pool:
                listings = pool.map(
                    lambda folder: images_in(root / folder, boundary, at_most), folders
                )
                for folder, files in zip(folders, listings, strict=True):
                    if len(files.names) < at_least:
                        over = f"; passed over: {describe_passed_over(files.passed_over)}"
                        raise DataError(
                            f"{root / folder}: found {len(files.names)} images, allowed: at least "
                            f"{at_least} (.png, .jpg, .webp, .bmp, .tif, …)"
                            f"{over if files.passed_over else ''}"
                        )
                    linked |= files.linked
                    yield files

        index = FileIndex.of(root, folders, found())
        if not linked:  # where links lead is looked at every time
            cache.save(index)
        return index

    def _is_nested(self, folder: Path) -> bool:
        """Whether the images of a class lie in a folder within the class's."""
        found = list_folder(folder, self._boundary)
        inside = any(entry.name == NESTED and entry.is_dir() for entry in found)
        return inside and not any(map(is_image, found))

    def _list_flat(self, split: Path, names: Sequence[str], classes: int) -> FileIndex:
        """The images of the first `classes` of `names` in a split without class folders."""
        files, folder = images_in(split, self._boundary), split
        if not files.names and (split / NESTED).is_dir():
            folder = split / NESTED
            files = images_in(folder, self._boundary)
        if not files.names:
            raise DataError(
                f"{split}: found no images, allowed: at least 1 a class; if it holds class "
                f"folders, leave out {self._key}.val_labels"
            )
        root, labels_file = self._layout.root, self._layout.val_labels
        assert labels_file is not None
        labels = torch.tensor(read_labels(root / labels_file, files.names, names))
        index = FileIndex.of(root, [folder.relative_to(root).as_posix()], [files])
        return replace(index, labels=labels).take((labels < classes).nonzero().flatten())


def _check_same_classes(train: list[str], folder: Path, test: list[str], test_folder: Path) -> None:
    for name in sorted(set(train) ^ set(test)):
        here, there = (folder, test_folder) if name in train else (test_folder, folder)
        raise DataError(
            f"{here / name}: no such class in {there}; allowed: the same classes in both"
        )


def images_in(folder: Path, boundary: Boundary | None, at_most: int | None = None) -> FolderFiles:
    """The first `at_most` images that are in `folder` itself; other files and folders, counted."""
    images, passed_over = list[os.DirEntry[str]](), Counter[str]()
    try:
        for entry in list_folder(folder, boundary):
            if is_image(entry):
                if at_most is None or len(images) < at_most:
                    images.append(entry)
            elif entry.is_file():
                passed_over[Path(entry.name).suffix.lower()] += 1
            elif entry.is_dir():
                passed_over[PASSED_FOLDERS] += 1
        sizes = [entry.stat().st_size for entry in images]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error})") from error
    linked = any(entry.is_symlink() for entry in images)
    return FolderFiles([entry.name for entry in images], sizes, linked, passed_over)
