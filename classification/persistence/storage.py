"""Readable errors for full, broken and read-only disks."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classification.errors import ArtifactError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What becomes of disks, mounts and limits, rather than of a program's own mistakes.
_REFUSALS = {
    *_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENODEV, errno.ENXIO,
    errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EFBIG, errno.EMFILE,
    errno.ENFILE, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN, errno.ETIMEDOUT,
}  # fmt: skip
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns what the system says of `path`, or of a file it names itself, into a StorageError.

    `needed` is how many bytes are to be written there.
    """
    try:
        yield
    except OSError as error:
        refusal = refusal_of(error, path, needed)
        if refusal is None:
            raise
        raise refusal from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file at, which then takes its place; removed if that fails.

    A reader, or a crash, sees the old file or the new one, whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` with `content` so that a reader, or a crash, sees the old or the new whole.

    Raises StorageError, naming `path`, if the disk refuses; what had been written makes room again.
    """
    data = content.encode() if isinstance(content, str) else content
    with storing(path, len(data)):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # an empty folder in the file's place; one that is not is refused
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def writable(folder: Path, option: str) -> Iterator[None]:
    """Turns a `folder` that cannot be written into an ArtifactError that names the `option` for it;
    one whose disk is full into a StorageError."""
    try:
        yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        if cause.errno in _FULL:
            raise refusal_of(cause, folder) or cause from error
        raise ArtifactError(
            f"{folder}: cannot be written ({cause.strerror}); name another with {option}"
        ) from error


def refusal_of(
    error: OSError, path: Path | None = None, needed: int | None = None
) -> StorageError | None:
    """What a disk refused, in a line that names the file; None for an error of another kind."""
    named = error.filename if isinstance(error.filename, str) else None
    place = Path(named) if named else path
    if error.errno not in _REFUSALS or place is None:
        return None
    if error.errno not in _FULL:
        return StorageError(f"{place}: cannot be used ({error.strerror})")
    figures = [] if needed is None else [f"{_size(needed)} needed"]
    free = _free(place)
    figures += [] if free is None else [f"{_size(free)} free"]
    how_much = f" ({', '.join(figures)})" if figures else ""
    return StorageError(
        f"{place}: {error.strerror}{how_much}; free some space, then run the same command to resume"
    )


def _free(path: Path) -> int | None:
    """Bytes left where `path` lies, or would lie; None where nobody knows."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def _size(number: int) -> str:
    """Bytes in a person's units: 900 bytes, 1.2 MB."""
    amount, unit = float(number), 0
    while amount >= 1000 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{number} bytes"
