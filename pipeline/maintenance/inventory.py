"""Inventory of a store: published artifacts, unfinished work, leftovers of killed runs."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classification.errors import ArtifactError
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.store import Store, leftovers

Kind = Literal["artifact", "begun", "replaced", "leftover", "temporary", "lock"]

_KINDS: dict[str, Kind] = {"": "artifact", ".work-": "begun", ".old-": "replaced", ".lock-": "lock"}
_NAME = re.compile(r"(|\.work-|\.old-|\.lock-)([0-9a-f]{16})")


@dataclass(frozen=True)
class Entry:
    """A file or folder at `path` that belongs to the artifact `key` of a stage."""

    kind: Kind
    stage: str
    key: str
    path: Path

    @property
    def size(self) -> int:
        return size_of(self.path)


def inventory(store: Store) -> list[Entry]:
    """Return the entries of the store, stage by stage, ignoring files that are not part of it."""
    order = {name: rank for rank, name in enumerate(STAGES)}
    folders = [path for path in store.root.iterdir() if path.is_dir() and path.name[0] != "."]
    folders.sort(key=lambda path: (order.get(path.name, len(order)), path.name))
    return [entry for folder in folders for entry in _of_stage(store, folder)]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links are not followed."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
    except FileNotFoundError:  # removed by another process meanwhile
        return 0


def _of_stage(store: Store, folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        kind, key = _KINDS[name[1]], name[2]
        yield Entry(kind, folder.name, key, path)
        if kind == "artifact" and path.is_dir() and not store.is_locked(folder.name, key):
            for each in leftovers(path):
                yield Entry("leftover", folder.name, key, each)
        if kind == "begun" and path.is_dir():
            for each in sorted(path.rglob(".*.tmp")):
                yield Entry("temporary", folder.name, key, each)


_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_STUDY, _TRIALS = "study.json", "trials"


@dataclass(frozen=True)
class References:
    """The runs that refer to each fingerprint."""

    folders: Mapping[str, Sequence[RunFolder]]

    def __contains__(self, key: str) -> bool:
        return key in self.folders

    def in_history_alone(self, key: str) -> bool:
        """Whether only replaced runs, in the history, refer to `key`."""
        return all(folder.is_history for folder in self.folders.get(key, ())) and key in self


def recorded_runs(root: Path) -> list[RunFolder]:
    """Return every run below `root`, valid or damaged.

    Raises ArtifactError, naming the folder, if a folder cannot be listed.
    """
    return [folder for folder in map(RunFolder, _folders(root)) if folder.stands]


def references(roots: Sequence[Path]) -> References:
    """Return what all runs below `roots` refer to, in their manifest or by a path in their config.

    Raises ArtifactError, naming the file, if a run's references cannot be read or a study's trials
    are missing.
    """
    found: dict[str, list[RunFolder]] = {}
    for root in roots:
        if not root.is_dir():
            raise ArtifactError(f"{root}: folder not found; name the folder of runs with --runs")
        for folder in _folders(root):
            if (folder / _STUDY).exists() and not (folder / _TRIALS).is_dir():
                raise ArtifactError(f"{folder / _TRIALS}: the runs of the study are missing")
            for path in folder.iterdir():
                if path.is_symlink() and not path.exists():
                    raise ArtifactError(f"{path}: broken link, which may have led to a run")
        for run in recorded_runs(root):
            try:
                keys = {*run.manifest()["stages"].values(), *_KEY.findall(run.config_text())}
            except ArtifactError as error:
                raise ArtifactError(
                    f"{error}; cannot tell which artifacts this run needs; repair the file or "
                    "delete the run folder"
                ) from error
            for key in keys:
                found.setdefault(key, []).append(run)
    return References(found)


def _folders(root: Path) -> Iterator[Path]:
    """Yield `root` and all folders below it once each, following links."""
    seen = set()
    for name, below, _ in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(name)
        if real in seen:
            below.clear()  # reached before, through a link
            continue
        seen.add(real)
        below.sort()
        yield Path(name)


def _refuse(error: OSError) -> None:
    """Raise ArtifactError, since a folder that cannot be listed may hold runs."""
    if not isinstance(error, FileNotFoundError):
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
