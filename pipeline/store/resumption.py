"""Unfinished work: whether it can be resumed, and what is damaged in its folder."""

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

_BEGUN = ".inputs.json"  # what the work was begun from, and whether --force began it


def prepare(
    work: Path, inputs: Mapping[str, Any], forced: bool, ledger: Ledger, log: Callable[[str], None]
) -> None:
    """Make `work`, which the caller has locked, ready for work from `inputs`.

    What was begun from other inputs, or from nobody knows which, is cleared; and if `forced` what
    was not begun so: the same command goes on with what it began. So is whatever stands where a
    file belongs. What a killed attempt cost is booked. The person is told of all that is lost.
    """
    for path, what in list(_in_the_way(work)):
        log(f"warning: {path}: {what}; removed")
        discard(path)
    for path in work.rglob(".*.tmp"):  # what a killed process was writing
        path.unlink()
    try:
        record_killed_attempt(ledger, work)
    except ArtifactError as error:
        log(f"warning: {error}; what that attempt cost is not known")
        discard(work / RECORD)
    if work.exists() and not _goes_on(work, inputs, forced, log):
        shutil.rmtree(work)
    if not work.exists():
        work.mkdir(parents=True)
        write_atomically(
            work / _BEGUN, json.dumps(add_checksum({"inputs": inputs, "forced": forced}))
        )


def damage_of(work: Path) -> Iterator[str]:
    """A line for everything in `work` that going on from there would stumble on or do without."""
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
    """Those of the work and of the works within it."""
    folders = [work, *(path for path in sorted(work.iterdir()) if path.is_dir())]
    return [path for folder in folders for path in checkpoints(folder) if path.is_file()]


def _in_the_way(work: Path) -> Iterator[tuple[Path, str]]:
    """What stands where something else belongs, and what is wrong with it. In a workspace files
    have endings, and folders none."""
    if os.path.lexists(work) and not work.is_dir():
        yield work, "found no folder where one belongs"
        return
    for path in sorted(work.rglob("*")):
        if path.is_symlink() and not path.exists():
            yield path, "found a link that leads nowhere"
        elif path.is_dir() and path.suffix:
            yield path, "found a folder where a file belongs"


def _goes_on(
    work: Path, inputs: Mapping[str, Any], forced: bool, log: Callable[[str], None]
) -> bool:
    """Whether the work can go on from `inputs`, and is meant to."""
    try:
        begun = _read_begun(work)
        if begun.get("inputs") == inputs:
            return bool(begun.get("forced")) or not forced
        reason = f"{work}: begun from other inputs"
    except ArtifactError as error:
        reason = str(error)
    if checkpoints(work) and not forced:
        log(f"warning: {reason}; its work begins anew")
    return False


def _read_begun(work: Path) -> dict[str, Any]:
    begun = read_verified(work / _BEGUN)
    if not begun.keys() <= {"inputs", "forced"}:  # the word for the checksum may have rotted too
        raise ArtifactError(f"{work / _BEGUN}: damaged; found {', '.join(begun)}")
    return begun
