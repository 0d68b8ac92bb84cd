"""Files from elsewhere: opened only if they are files, and read no further than they may reach.

A pipe would wait for ever, a device has no end, and a file may claim to be of any size.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO


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
            raise ValueError(f"larger than it can be ({limit:,} bytes)")
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a file. Raises OSError or ValueError as `open_regular` does."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)  # what /proc shows as empty is not
    if content is None:  # a file of /proc that would have made a reader wait
        raise ValueError("not a regular file")
    if len(content) > limit:
        raise ValueError(f"larger than it can be ({limit:,} bytes)")
    return content


def read_json(path: Path, limit: int) -> Any:
    """The value in a JSON file. Raises OSError or ValueError if it is none, or no such file."""
    try:
        return json.loads(read_regular(path, limit).decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
