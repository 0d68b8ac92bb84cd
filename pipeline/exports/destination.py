"""The destination of an export: written whole or not at all, replacing earlier exports only."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from classification.errors import ConfigError
from classification.persistence.storage import writable

_BY_PYTHON = "__pycache__"  # what importing an exported module leaves beside it


def check_destination(output: Path, overwrite: bool, files: Sequence[str] | None) -> None:
    """Raise ConfigError if `output` exists and may not be replaced.

    `files` are those that a folder is going to hold, None if `output` is going to be a file. A
    folder is replaced only if it holds no other names, so that no mistyped path costs more than
    an export.
    """
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise ConfigError(f"-o: {output} exists; allowed: another path, or --overwrite")
    if output.is_symlink() or (files is None) != output.is_file():
        wanted = "a file" if files is None else "a folder"
        raise ConfigError(f"-o: {output} is not {wanted}, which this form writes; allowed: another")
    others = [] if files is None else _others(output, files)
    if others:
        raise ConfigError(
            f"-o: {output} holds {others[0]}, which is no part of such an export; allowed with "
            "--overwrite: a folder that holds an earlier one and nothing else"
        )


@contextmanager
def published(output: Path) -> Iterator[Path]:
    """A path to write a file or folder at, which is moved to `output` when all is written.

    Nothing is left of it if something goes wrong, and what stood at `output` stands there still.
    Raises ArtifactError if it cannot be written, StorageError if the disk is full.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 - resolve() would follow links
    work = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with writable(output, "-o"):
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
        with suppress(OSError):  # what it was in may not be a folder
            path.unlink(missing_ok=True)


def _others(folder: Path, files: Sequence[str]) -> list[str]:
    """What a folder holds beside `files`."""
    return sorted({p.name for p in folder.iterdir()} - {*files, _BY_PYTHON})
