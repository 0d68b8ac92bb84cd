"""A float32 array in a file, mapped into memory, that long work fills part by part."""

from contextlib import suppress
from pathlib import Path

import numpy as np


def open_array(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """The array that stands at `path`, open for writing; None unless it is whole and of `shape`."""
    # Read-only first: opened for writing, a file cut short would be filled up with zeros.
    with suppress(OSError, ValueError):
        standing = np.load(path, mmap_mode="r")
        if standing.shape == shape and standing.dtype == np.float32:
            return np.lib.format.open_memmap(path, mode="r+")
    return None


def create_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array of zeros, in another file should someone still have the old one mapped."""
    path.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
