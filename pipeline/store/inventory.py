"""What lies in an artifact store: what is published or begun, and what a kill left behind."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        """Bytes of all files."""
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
