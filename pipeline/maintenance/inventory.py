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
    """Something at `path` that belongs to the artifact `key` of a stage."""

    kind: Kind
    stage: str
    key: str
    path: Path

    @property
    def size(self) -> int:
        return size_of(self.path)


def inventory(store: Store) -> list[Entry]:
    """Everything that this program made, stage by stage; what it did not make is left out."""
    order = {name: rank for rank, name in enumerate(STAGES)}
    folders = [path for path in store.root.iterdir() if path.is_dir() and path.name[0] != "."]
    folders.sort(key=lambda path: (order.get(path.name, len(order)), path.name))
    return [entry for folder in folders for entry in _of_stage(store, folder)]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; a link counts as itself."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
    except FileNotFoundError:  # someone is at work there
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
        """Whether only runs that others took the place of refer to `key`."""
        return all(folder.is_history for folder in self.folders.get(key, ())) and key in self


def recorded_runs(root: Path) -> list[RunFolder]:
    """Every run below `root`, whole or damaged.

    Raises ArtifactError, naming it, if a folder there cannot be listed.
    """
    return [folder for folder in map(RunFolder, _folders(root)) if folder.stands]


def references(roots: Sequence[Path]) -> References:
    """What all runs below `roots` refer to, in their manifest or by a path in their config.

    Raises ArtifactError, naming the file, if any run does not say, or a study has lost its trials.
    """
    found: dict[str, list[RunFolder]] = {}
    for root in roots:
        if not root.is_dir():
            raise ArtifactError(f"{root}: no such folder of runs; name it with --runs")
        for folder in _folders(root):
            if (folder / _STUDY).exists() and not (folder / _TRIALS).is_dir():
                raise ArtifactError(f"{folder / _TRIALS}: the runs of the study are not there")
            for path in folder.iterdir():
                if path.is_symlink() and not path.exists():
                    raise ArtifactError(f"{path}: leads nowhere, where a run may have been")
        for run in recorded_runs(root):
            try:
                keys = {*run.manifest()["stages"].values(), *_KEY.findall(run.config_text())}
            except ArtifactError as error:
                raise ArtifactError(
                    f"{error}; so nobody knows what that run needs: mend it, or remove its folder"
                ) from error
            for key in keys:
                found.setdefault(key, []).append(run)
    return References(found)


def _folders(root: Path) -> Iterator[Path]:
    """`root` and all folders below it, those behind links too, each once."""
    seen = set()
    for name, below, _ in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(name)
        if real in seen:
            below.clear()  # a link back up
            continue
        seen.add(real)
        below.sort()
        yield Path(name)


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed may hold runs."""
    if not isinstance(error, FileNotFoundError):
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
