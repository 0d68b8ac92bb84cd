"""The destination of an export: written atomically, replacing earlier exports only."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from classification.errors import ConfigError
from classification.persistence.storage import writable

_BY_PYTHON = "__pycache__"  # created by importing an exported module


def check_destination(
    output: Path, overwrite: bool, files: Sequence[str] | None, option: str = "-o"
) -> None:
    """Raise ConfigError if `output` exists and may not be replaced, or if it is below a file.

    `files` are the names that the folder will hold, None if `output` will be a file. A folder is
    replaced only if it holds no other names, so that a mistyped path can delete only an export.
    """
    if not os.path.lexists(output):
        above = next(each for each in output.absolute().parents if os.path.lexists(each))
        if not above.is_dir():
            raise ConfigError(f"{option}: {above} is not a folder; choose a path outside of it")
        return
    if not overwrite:
        raise ConfigError(f"{option}: {output} exists; choose another path, or add --overwrite")
    if output.is_symlink() or (files is None) != output.is_file():
        wanted = "a file" if files is None else "a folder"
        raise ConfigError(
            f"{option}: {output} is not {wanted}, which would be written; choose another path"
        )
    others = [] if files is None else _others(output, files)
    if others:
        raise ConfigError(
            f"{option}: {output} contains {others[0]}, which is not part of such an export; "
            "--overwrite replaces only folders that contain nothing but an earlier export"
        )


@contextmanager
def published(output: Path, option: str = "-o") -> Iterator[Path]:
    """Provide a path for a file or folder, which is moved to `output` at the end of the block.

    After an error it is removed, and `output` is unchanged. Raises ArtifactError if it cannot be
    written, StorageError if the disk is full.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow links
    work = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with writable(output, option):
            output.parent.mkdir(parents=True, exist_ok=True)
            yield work
            _replace(work, output)
    finally:
        _remove(work)


def _replace(work: Path, output: Path) -> None:
    if not output.is_dir():
        work.replace(output)
        return
    retired = output.with_name(f".{output.name}.{os.getpid()}.old")  # a folder cannot be replaced
    output.rename(retired)
    try:
        work.rename(output)
    except OSError:
        retired.rename(output)
        raise
    _remove(retired)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # its parent may not be a folder
            path.unlink(missing_ok=True)


def _others(folder: Path, files: Sequence[str]) -> list[str]:
    """Return the names in a folder other than `files`."""
    return sorted({p.name for p in folder.iterdir()} - {*files, _BY_PYTHON})
