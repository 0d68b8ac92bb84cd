"""float32 arrays in files: memory-mapped and filled in parts, or read."""

import io
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from classification.errors import ArtifactError
from classification.persistence.storage import storing, write_atomically


def open_array(path: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """Open the array at `path` for writing; None unless it is complete and has `shape`."""
    # Read-only first: opening a truncated file for writing would pad it with zeros.
    with suppress(OSError, ValueError):
        standing = np.load(path, mmap_mode="r")
        if standing.shape == shape and standing.dtype == np.float32:
            return np.lib.format.open_memmap(path, mode="r+")
    return None


def create_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Create an array of zeros, in a new file since the old one may still be mapped.

    Its disk space is allocated at once: on a full disk a later write would kill the process.
    Raises StorageError if there is too little.
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
    """Memory-map the floating-point array at `path`.

    Raises ArtifactError if the file is missing, truncated or not such an array.
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
    """Write `array` as .npy, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(path, buffer.getvalue())
