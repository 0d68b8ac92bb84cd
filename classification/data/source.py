"""Identifies the files of a dataset without reading them, as a build tool does."""

import hashlib
import os
import time
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
    """Return a digest of the path, size and modification time of every file that the images may
    come from; for digits, of scikit-learn's version.

    None where that does not tell one content from another: for images that stay in their files,
    for symbolic links, for files that changed less than two seconds ago, for unreadable folders.
    """
    if config.in_files:
        return None
    digest = hashlib.sha256()
    if config.kind == "digits":
        return hashlib.sha256(version("scikit-learn").encode()).hexdigest()
    root = config.root or CIFAR_ROOT
    folder = root / _CIFAR_FOLDERS.get(config.kind, "")
    latest = time.time_ns() - _SETTLED_NS
    folders = [os.fsencode(folder.resolve())]
    try:
        while folders:
            path = folders.pop()
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda each: each.name):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_symlink() or status.st_mtime_ns > latest:
                        return None
                    digest.update(entry.path)
                    digest.update(b"\0%d\0%d\0" % (status.st_size, status.st_mtime_ns))
    except OSError:
        return None
    return digest.hexdigest()
