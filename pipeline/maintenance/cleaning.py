"""Finds and removes artifacts and unfinished work that no recorded run needs.

Skips everything that a running process holds, and keeps every line of the ledger. An artifact is
first renamed, then deleted, so that it is never partly there.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from classification.compilation import CACHE
from classification.data.pixel_cache import abandoned_files, kept_files
from classification.errors import ArtifactError
from pipeline.maintenance.inventory import (
    Entry,
    Kind,
    References,
    inventory,
    references,
    size_of,
)
from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import record_killed_attempt
from pipeline.store.store import Store, discard

_UNREFERRED: dict[Kind, str] = {
    "artifact": "no run refers to it",
    "begun": "unfinished, and no run refers to it",
    "lock": "no process holds it",
}
_ALWAYS: dict[Kind, str] = {
    "replaced": "replaced by another artifact",
    "leftover": "a working file of a finished artifact",
    "temporary": "partly written by a killed process",
}


@dataclass(frozen=True)
class Removable:
    """An entry to remove, the reason, its size in bytes, and the recorded cost of its work."""

    entry: Entry
    why: str
    size: int
    cost: Cost


@dataclass(frozen=True)
class Cache:
    """A file or folder of what a run makes again if it is missing, and its size in bytes."""

    what: str
    path: Path
    size: int


def caches_of(store: Store | None) -> list[Cache]:
    """Return the kept images of folders, what killed processes left of them, and, unless a stage of
    the store runs, its compiled kernels."""
    images = (*kept_files(), *abandoned_files())
    found = [Cache("decoded images", path, size_of(path)) for path in images]
    if store is None:
        return found
    compiled = store.root / CACHE
    running = any(
        entry.kind == "begun" and store.is_locked(entry.stage, entry.key)
        for entry in inventory(store)
    )
    if compiled.is_dir() and not running:
        found.append(Cache("compiled kernels", compiled, size_of(compiled)))
    return found


def removable(store: Store, referred: References) -> list[Removable]:
    """Return everything that no run needs and no running process holds."""
    found = []
    for entry in inventory(store):
        why = _ALWAYS.get(entry.kind)
        if entry.key not in referred and entry.kind not in ("leftover", "temporary"):
            why = why or _UNREFERRED[entry.kind]
        elif entry.key not in referred:
            why = None  # removed with its folder
        if why is None or store.is_locked(entry.stage, entry.key):
            continue
        worked = entry.kind in ("artifact", "begun")
        cost = Cost.of(store.ledger.attempts([entry.key]) if worked else [])
        found.append(Removable(entry, why, entry.size, cost))
    return found


def remove(store: Store, entry: Entry, referred: References) -> bool:
    """Remove an entry; return False if a running process holds it."""
    try:
        with store.lock(entry.stage, entry.key).acquire(timeout=0):
            _remove(store, entry)
            if entry.key not in referred:
                discard(entry.path.with_name(f".lock-{entry.key}"))
    except Timeout:
        return False
    return True


def check_clean(store: Store, runs: Sequence[Path]) -> References:
    """Return what the runs refer to, after checking that they are runs of this store.

    Raises ArtifactError if `store` is not a store, or if the needs of its runs are unknown.
    """
    if not os.path.lexists(store.ledger.path):
        raise ArtifactError(
            f"{store.root}: not an artifact store, since it has no ledger; name the store with "
            "--artifacts"
        )
    referred = references(runs)
    artifacts = [entry for entry in inventory(store) if entry.kind in ("artifact", "begun")]
    if artifacts and not any(entry.key in referred for entry in artifacts):
        named = " and ".join(map(str, runs))
        raise ArtifactError(
            f"{named}: no run here refers to {store.root}, so everything in it would be deleted; "
            "name the folder of its runs with --runs, or delete the store's folder yourself"
        )
    return referred


def _remove(store: Store, entry: Entry) -> None:
    """Record unrecorded costs in the ledger, then remove an entry that the caller has locked."""
    path = entry.path
    with suppress(ArtifactError):  # the cost in a damaged record is unknown
        if entry.kind == "begun":
            record_killed_attempt(store.ledger, path)
        elif entry.kind in ("artifact", "leftover"):
            store.tidy(entry.stage, entry.key)
    if entry.kind in ("artifact", "begun"):
        path = store.put_aside(path, entry.key)
    if entry.kind != "lock":
        discard(path)
