"""Finds and removes what no recorded run needs.

Nothing that a living process holds is touched, and the ledger is kept whole: what was removed was
paid for. An artifact goes at once, by a rename, before its files do.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from classification.errors import ArtifactError
from pipeline.maintenance.inventory import Entry, Kind, References, inventory, references
from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import record_killed_attempt
from pipeline.store.store import Store, discard

_UNREFERRED: dict[Kind, str] = {
    "artifact": "no run refers to it",
    "begun": "begun, and no run refers to it",
    "lock": "nobody holds it",
}
_ALWAYS: dict[Kind, str] = {
    "replaced": "another took its place",
    "leftover": "served the making, which is over",
    "temporary": "half written when its process was killed",
}


@dataclass(frozen=True)
class Removable:
    """Something to remove, why, its bytes, and what the work it holds has cost."""

    entry: Entry
    why: str
    size: int
    cost: Cost


def removable(store: Store, referred: References) -> list[Removable]:
    """All that no run needs; nothing that a living process is at work on."""
    found = []
    for entry in inventory(store):
        why = _ALWAYS.get(entry.kind)
        if entry.key not in referred and entry.kind not in ("leftover", "temporary"):
            why = why or _UNREFERRED[entry.kind]
        elif entry.key not in referred:
            why = None  # goes with what it lies in
        if why is None or store.is_locked(entry.stage, entry.key):
            continue
        worked = entry.kind in ("artifact", "begun")
        cost = Cost.of(store.ledger.attempts([entry.key]) if worked else [])
        found.append(Removable(entry, why, entry.size, cost))
    return found


def remove(store: Store, entry: Entry, referred: References) -> bool:
    """Remove an entry; False if a living process holds it by now."""
    try:
        with store.lock(entry.stage, entry.key).acquire(timeout=0):
            _remove(store, entry)
            if entry.key not in referred:
                discard(entry.path.with_name(f".lock-{entry.key}"))
    except Timeout:
        return False
    return True


def check_clean(store: Store, runs: Sequence[Path]) -> References:
    """What the runs refer to, once it is certain that they are those of the store.

    Raises ArtifactError if the store is none, or if what its runs need cannot be told.
    """
    if not os.path.lexists(store.ledger.path):
        raise ArtifactError(
            f"{store.root}: no ledger there, so it is no store of artifacts; name one with "
            "--artifacts"
        )
    referred = references(runs)
    artifacts = [entry for entry in inventory(store) if entry.kind in ("artifact", "begun")]
    if artifacts and not any(entry.key in referred for entry in artifacts):
        named = " and ".join(map(str, runs))
        raise ArtifactError(
            f"{named}: no run there refers to anything in {store.root}, so all of it would go; "
            "name the folder of its runs with --runs, or remove the store's folder yourself"
        )
    return referred


def _remove(store: Store, entry: Entry) -> None:
    """Book what has no line in the ledger yet, then remove an entry that is locked."""
    path = entry.path
    with suppress(ArtifactError):  # a damaged record has told nobody what it cost
        if entry.kind == "begun":
            record_killed_attempt(store.ledger, path)
        elif entry.kind in ("artifact", "leftover"):
            store.tidy(entry.stage, entry.key)
    if entry.kind in ("artifact", "begun"):
        path = store.put_aside(path, entry.key)
    if entry.kind != "lock":
        discard(path)
