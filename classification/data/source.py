"""Identifies the files of a dataset without reading them, as a build tool does."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from classification.data.config import DataConfig

CIFAR_ROOT = Path(".data")
_CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_SETTLED_NS = 2_000_000_000  # a file changed later than this may change again at the same time


def source_of(config: DataConfig) -> str | None:
    """Return a digest of the settings and of `listing_of`; None if that is unknown."""
    listing = listing_of(config)
    return None if listing is None else join_source(config, listing)


def join_source(config: DataConfig, listing: str) -> str:
    """Return `source_of` a config whose `listing_of` is known."""
    return hashlib.sha256(f"{config.model_dump_json()}{listing}".encode()).hexdigest()


def listing_of(config: DataConfig) -> str | None:
    """Return a digest of the path, size, modification time and time of the last change (ctime) of
    every file and folder that the images and their classes may come from; for digits, of
    scikit-learn's version.

    A program can set the modification time of a file, but not its ctime: the system sets it when
    content, name or permissions change. File systems without one report another time instead.

    None where that does not tell one content from another: for images that stay in their files,
    for symbolic links, for files that changed less than two seconds ago, for unreadable folders.
    """
    if config.in_files:
        return None
    if config.kind == "digits":
        return hashlib.sha256(version("scikit-learn").encode()).hexdigest()
    digest, latest = hashlib.sha256(), time.time_ns() - _SETTLED_NS
    try:
        for path, status in _entries(config):
            times = status.st_mtime_ns, status.st_ctime_ns
            if stat.S_ISLNK(status.st_mode) or max(times) > latest:
                return None
            digest.update(path + b"\0%d\0%d\0%d\0" % (status.st_size, *times))
    except OSError:
        return None
    return digest.hexdigest()


def _entries(config: DataConfig) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield the path and status of each file and folder, in a fixed order. Links below the root
    are not followed."""
    root = config.root or CIFAR_ROOT
    if config.val_labels is not None:  # which may lie outside the root
        from classification.data.val_labels import META  # imports numpy

        labels = root / config.val_labels
        for each in (labels.resolve(), labels.with_name(META).resolve()):
            if each.exists():
                yield os.fsencode(each), each.stat()
    folder = (root / _CIFAR_FOLDERS.get(config.kind, "")).resolve()
    folders = [os.fsencode(folder)]
    yield folders[0], folder.stat()
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
