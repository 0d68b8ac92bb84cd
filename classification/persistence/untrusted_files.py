"""Opens untrusted files: regular files only, up to a size limit, with bounded memory.

A pipe would block forever, a device has no end, and a file can claim any size. Even readers that
execute no code can be made to allocate without limit: by declared sizes, compressed zeros or
values that grow when they are unpacked.
"""

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from classification.errors import ArtifactError

MAX_JSON_BYTES = 64 << 20


def open_regular(path: Path, limit: int) -> BinaryIO:
    """Open a file of at most `limit` bytes for reading.

    Raises OSError if it cannot be opened, ValueError if it is a pipe, a device or a folder, or is
    larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > limit:
            raise ValueError(f"larger than the limit of {limit:,} bytes")
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a file. Raises OSError or ValueError as `open_regular` does."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)  # files in /proc report a size of 0
    if content is None:  # a file in /proc whose read would block
        raise ValueError("not a regular file")
    if len(content) > limit:
        raise ValueError(f"larger than the limit of {limit:,} bytes")
    return content


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> Any:
    """The value in a JSON file. Raises ArtifactError, naming the file, if it cannot be read."""
    try:
        return json.loads(read_regular(path, limit).decode())
    except RecursionError as error:
        raise ArtifactError(f"{path}: damaged; nested too deeply") from error
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged; cannot be read ({error})") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ArtifactError, naming the file, if it holds none."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: damaged; found {type(value).__name__}, allowed: an object")
    return value


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read a JSON list of objects. Raises ArtifactError, naming the file, if it holds none."""
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ArtifactError(f"{path}: damaged; not a list of objects")
    return value


_STATUS = Path("/proc/self/statm")  # absent on macOS: memory is not limited there


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[None]:
    """Limit the growth of this process's address space to `num_bytes`, in all threads.

    Larger allocations fail with MemoryError or the library's own error.
    """
    if not _STATUS.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(_STATUS.read_text().split()[0]) * resource.getpagesize()
    bounds = [used + num_bytes, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
