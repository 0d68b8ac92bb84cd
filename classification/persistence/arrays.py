"""float32 arrays in files: mapped into memory and filled in parts, or read whole."""

import io
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from classification.errors import ArtifactError
from classification.persistence.storage import storing, write_atomically


def open_array(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """The array that stands at `path`, open for writing; None unless it is whole and of `shape`."""
    # Read-only first: opened for writing, a file cut short would be filled up with zeros.
    with suppress(OSError, ValueError):
        standing = np.load(path, mmap_mode="r")
        if standing.shape == shape and standing.dtype == np.float32:
            return np.lib.format.open_memmap(path, mode="r+")
    return None


def create_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array of zeros, in another file should someone still have the old one mapped.

    All its room is taken at once: a disk that is full later would end the process at a write.
    Raises StorageError if there is not that much.
    """
    path.unlink(missing_ok=True)
    needed = math.prod(shape) * np.dtype(np.float32).itemsize
    with storing(path, needed):
        try:
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
    return array


def read_array(path: Path, dimensions: int) -> np.memmap:
    """The floating-point array at `path`, read where it is used.

    Raises ArtifactError if the file is missing, cut short or anything else, as pickled objects are.
    """
    try:
        with np.errstate(over="raise"):  # a shape's product may exceed 64 bits
            array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, ArithmeticError) as error:
        raise ArtifactError(f"{path}: not a readable array ({error})") from error
    if array.ndim != dimensions or array.dtype.kind != "f":
        raise ArtifactError(
            f"{path}: found {array.dtype} in {array.ndim} dimensions; allowed: floating-point "
            f"numbers in {dimensions}"
        )
    return array


def save_array(path: Path, array: np.ndarray) -> None:
    """Write `array` as .npy, so that `path` is whole or absent."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(path, buffer.getvalue())
