"""Readable errors for full, broken and read-only disks."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classification.errors import ArtifactError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors of disks, mounts and limits rather than of the program.
_REFUSALS = {
    *_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENODEV, errno.ENXIO,
    errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EFBIG, errno.EMFILE,
    errno.ENFILE, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN, errno.ETIMEDOUT,
}  # fmt: skip
_CACHES = "nas-acceleration"
_LONGEST_WRITING = 3600  # seconds
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError about `path`, or about the file that it names, into a StorageError.

    `needed` is the number of bytes to be written.
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
    """Yield a temporary path whose file then replaces `path`; it is removed on failure.

    A reader, even after a crash, finds the complete old or new file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def abandoned(folder: Path) -> list[Path]:
    """Return the temporary files of `replacing` directly in `folder` that no process is writing:
    those of processes that have ended, and, as process numbers are used again, those that were not
    written to for an hour.
    """
    found, latest = [], time.time() - _LONGEST_WRITING
    for path in sorted(folder.glob(".*.tmp")):
        number = path.suffixes[-2:-1]
        with suppress(FileNotFoundError):
            if number and number[0][1:].isdecimal():
                gone = not _is_running(int(number[0][1:]))
                if gone or path.stat().st_mtime < latest:
                    found.append(path)
    return found


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` with `content`; a reader, even after a crash, finds the old or the new file.

    What of a text is not UTF-8, as a file's name may be, is escaped as JSON and Python do.

    Raises StorageError, naming `path`, if the disk fails; the partial file is removed.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with storing(path, len(data)):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # only an empty folder is replaced
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def writable(folder: Path, option: str) -> Iterator[None]:
    """Turn a write error of `folder` into an ArtifactError that names `option`; on a full disk,
    into a StorageError."""
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
    """Return a disk's error as one line that names the file; None for any other error."""
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


def cache_folder() -> Path | None:
    """Return the folder of this program's caches (XDG Base Directory Specification).

    None if the user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # noqa: PTH117 - what the specification asks for
        return Path(named) / _CACHES
    try:
        return Path.home() / ".cache" / _CACHES
    except RuntimeError:
        return None


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _free(path: Path) -> int | None:
    """Return the free bytes on the disk of `path`; None if unknown."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def _size(number: int) -> str:
    """Format a number of bytes: 900 bytes, 1.2 MB."""
    amount, unit = float(number), 0
    while amount >= 1000 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{number} bytes"
