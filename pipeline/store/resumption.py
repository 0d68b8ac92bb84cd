"""Unfinished work: checks whether it can be resumed, and finds damage in its folder."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import check_checkpoint, checkpoints
from pipeline.store.checksum import add_checksum, read_verified
from pipeline.store.ledger import Ledger
from pipeline.store.stopwatch import RECORD, open_attempt, record_killed_attempt
from pipeline.store.store import discard

_BEGUN = ".inputs.json"  # the inputs that the work was started from, and whether with --force


def prepare(
    work: Path, inputs: Mapping[str, Any], forced: bool, ledger: Ledger, log: Callable[[str], None]
) -> None:
    """Prepare the folder `work`, which the caller has locked, for work from `inputs`.

    Deletes work that was started from other or unknown inputs, and, if `forced`, work that was not
    started with --force; so the same command resumes its own work. Also deletes folders and links
    in the place of files. Records the cost of a killed attempt. Logs everything that is lost.
    """
    for path, what in list(_in_the_way(work)):
        log(f"warning: {path}: {what}; removed")
        discard(path)
    for path in work.rglob(".*.tmp"):  # partly written by a killed process
        path.unlink()
    try:
        record_killed_attempt(ledger, work)
    except ArtifactError as error:
        log(f"warning: {error}; the cost of that attempt is unknown")
        discard(work / RECORD)
    if work.exists() and not _goes_on(work, inputs, forced, log):
        shutil.rmtree(work)
    if not work.exists():
        work.mkdir(parents=True)
        write_atomically(
            work / _BEGUN, json.dumps(add_checksum({"inputs": inputs, "forced": forced}))
        )


def damage_of(work: Path) -> Iterator[str]:
    """Yield a line for every damaged file in `work` that resuming would need or fail on."""
    for path, what in _in_the_way(work):
        yield f"{path}: {what}"
    checks: list[Callable[[], object]] = [partial(_read_begun, work), partial(open_attempt, work)]
    checks += [partial(check_checkpoint, path) for path in _all_checkpoints(work)]
    for check in checks:
        try:
            check()
        except ArtifactError as error:
            yield str(error)


def _all_checkpoints(work: Path) -> list[Path]:
    """Return the checkpoints in `work` and in its subfolders."""
    folders = [work, *(path for path in sorted(work.iterdir()) if path.is_dir())]
    return [path for folder in folders for path in checkpoints(folder) if path.is_file()]


def _in_the_way(work: Path) -> Iterator[tuple[Path, str]]:
    """Yield paths of the wrong type, and what is wrong with each. In a workspace, files have
    suffixes and folders have none."""
    if os.path.lexists(work) and not work.is_dir():
        yield work, "must be a folder"
        return
    for path in sorted(work.rglob("*")):
        if path.is_symlink() and not path.exists():
            yield path, "broken link"
        elif path.is_dir() and path.suffix:
            yield path, "found a folder instead of a file"


def _goes_on(
    work: Path, inputs: Mapping[str, Any], forced: bool, log: Callable[[str], None]
) -> bool:
    """Whether the work can and should be resumed from `inputs`."""
    try:
        begun = _read_begun(work)
        if begun.get("inputs") == inputs:
            return bool(begun.get("forced")) or not forced
        reason = f"{work}: started from other inputs"
    except ArtifactError as error:
        reason = str(error)
    if checkpoints(work) and not forced:
        log(f"warning: {reason}; starting again from the beginning")
    return False


def _read_begun(work: Path) -> dict[str, Any]:
    begun = read_verified(work / _BEGUN)
    if not begun.keys() <= {"inputs", "forced"}:  # the checksum's own key may be damaged too
        raise ArtifactError(f"{work / _BEGUN}: damaged; found {', '.join(begun)}")
    return begun
