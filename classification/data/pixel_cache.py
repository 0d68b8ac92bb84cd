"""Keeps the decoded images of a folder, so that a folder is decoded once and then mapped.

The files are beside the kept listings, in the user's cache folder ($XDG_CACHE_HOME or ~/.cache);
together they take at most 8 GiB, of which the least recently used go first, and no more than half
of the free disk. What is kept serves again while every file has the path, size and times of change
it had (`listing_of`), the settings of decoding are the same, and the pixels have their digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from classification.data.config import DataConfig
from classification.persistence.storage import abandoned, cache_folder, replacing

KEPT_FROM = 2_000  # images; fewer are decoded within a second
MOST_BYTES = 8 << 30  # of all kept images
_VERSION = 1
_MAX_HEADER = 1 << 20  # bytes
_ALIGNED = 4096  # bytes: the pixels begin at a page
# Settings that change no pixel of the images in memory.
_NOT_DECODING = {
    *("storage", "workers", "follow_links", "max_unreadable", "crop_padding", "flip", "lighting"),
}


@dataclass(frozen=True)
class KeptImages:
    """Decoded images: uint8 [N, 3, H, H], of which the first `num_train` are for training, and a
    description: how they were decoded, and the digests by which a reader verifies them."""

    pixels: np.ndarray
    num_train: int
    description: Mapping[str, Any]


class PixelCache:
    """The kept images of one folder, decoded with the settings of `config`.

    `listing` identifies the files (`listing_of`); None: nothing is kept.
    """

    def __init__(self, config: DataConfig, listing: str | None) -> None:
        home = cache_folder()
        settings = config.model_dump(mode="json", exclude=_NOT_DECODING)
        settings["root"] = None if config.root is None else os.fsdecode(config.root.resolve())
        self._key = {"version": _VERSION, "settings": settings, "pillow": version("pillow")}
        self._listing = listing
        name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
        known = home is not None and listing is not None
        self.path = home / f"pixels-{name}.bin" if home is not None and known else None

    def load(self) -> KeptImages | None:
        """Map what was kept of the present files, pixels not verified; None if there is nothing.

        Raises ValueError if the file is damaged.
        """
        if self.path is None:
            return None
        try:
            with self.path.open("rb") as file:
                digest, length = file.read(32), int.from_bytes(file.read(8), "little")
                header = file.read(min(length, _MAX_HEADER))
            if hashlib.sha256(header).digest() != digest:
                raise ValueError(f"{self.path}: the header's checksum differs")
            found = json.loads(header)
            if found["key"] != self._key or found["listing"] != self._listing:
                return None
            shape, start = tuple(found["shape"]), found["start"]
            if self.path.stat().st_size != start + int(np.prod(shape)):
                raise ValueError(f"{self.path}: cut short")
            pixels = np.memmap(self.path, np.uint8, "c", start, shape)  # writes stay in memory
        except OSError:
            return None
        with contextlib.suppress(OSError):  # another user's file serves, too
            os.utime(self.path)
        return KeptImages(pixels, found["num_train"], found["description"])

    def save(self, kept: KeptImages) -> None:
        """Keep images, if they are many enough. A cache that cannot be written is none."""
        path, size = self.path, kept.pixels.nbytes
        if path is None or len(kept.pixels) < KEPT_FROM or size > MOST_BYTES:
            return
        found = {
            "key": self._key,
            "listing": self._listing,
            "shape": kept.pixels.shape,
            "num_train": kept.num_train,
            "description": kept.description,
            "start": 0,
        }
        header = json.dumps(found).encode()
        start = found["start"] = -(-(len(header) + 64) // _ALIGNED) * _ALIGNED
        header = json.dumps(found).encode()
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _make_room(path, size):
                return
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(hashlib.sha256(header).digest())
                file.write(len(header).to_bytes(8, "little") + header)
                file.seek(start)
                file.write(np.ascontiguousarray(kept.pixels).data)


def kept_files() -> list[Path]:
    """Return the files of kept images, the least recently used first."""
    home = cache_folder()
    return [] if home is None else [path for _, path, _ in _kept(home)]


def abandoned_files() -> list[Path]:
    """Return the files of images and listings that killed processes left partly written."""
    home = cache_folder()
    return [] if home is None else abandoned(home)


def _kept(home: Path) -> list[tuple[float, Path, int]]:
    """Return when each file of kept images was used, its path and its size in bytes, in order."""
    found = []
    for path in home.glob("pixels-*.bin"):
        with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
            status = path.stat()
            found.append((status.st_mtime, path, status.st_size))
    return sorted(found)


def _make_room(path: Path, size: int) -> bool:
    """Remove abandoned files, and kept images until `size` bytes at `path` fit into the bound.

    Return whether they also fit on the disk. If not, no kept images are removed.
    """
    for each in abandoned(path.parent):
        each.unlink(missing_ok=True)
    others = [(each, bytes_) for _, each, bytes_ in _kept(path.parent) if each != path]
    total, going, freed = size + sum(bytes_ for _, bytes_ in others), list[Path](), 0
    for each, bytes_ in others:
        if total - freed <= MOST_BYTES:
            break
        going.append(each)
        freed += bytes_
    if shutil.disk_usage(path.parent).free + freed < 2 * size:
        return False
    for each in going:
        each.unlink(missing_ok=True)
    return True
