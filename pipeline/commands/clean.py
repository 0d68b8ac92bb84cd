"""The `clean` command."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from classification.errors import ConfigError
from pipeline.console import Console
from pipeline.maintenance.cleaning import Removable, caches_of, check_clean, removable, remove
from pipeline.maintenance.inventory import References, inventory
from pipeline.store.ledger import Cost
from pipeline.store.store import Store, discard, store_of

_STORE = Path("artifacts")


def clean(
    artifacts: Annotated[
        Path | None, typer.Option(help="folder of artifacts (default: artifacts, if it exists)")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="folder of runs (default: runs); repeat it for each that uses the store"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="remove without asking")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="list what would be removed, remove nothing")
    ] = False,
) -> None:
    """Delete artifacts that no run refers to, kept images and compiled kernels.

    Lists them first, with their size and cost, and asks. The decoded images of folders, kept in the
    user's cache folder, and the kernels of search.compile, kept in the store, are made again when a
    run needs them. Without a store, only the decoded images are removed. Runs in .history and the
    trials of studies count as runs. The ledger is kept.

    \b
    Example:
      python run_pipeline.py clean --dry-run
      python run_pipeline.py clean --runs runs --runs /shared/runs --yes
    """
    console, folders = Console(), runs or [Path("runs")]
    store = store_of({}, artifacts or _STORE) if artifacts or _STORE.is_dir() else None
    found, caches = list[Removable](), caches_of(store)
    if store is None:
        console.log(f"{_STORE}: no such folder; name the store with --artifacts")
    else:
        referred = check_clean(store, folders)
        found = removable(store, referred)
    if found or not caches:
        _list(console, found)
    for each in caches:
        console.log(f"to remove   {decimal(each.size)} of {each.what}, {each.path}")
    if store is not None:
        _tell_of_history(console, store, referred, folders)
    if dry_run or not (found or caches):
        return
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise ConfigError("clean: there is no terminal to ask on; allowed: --yes, --dry-run")
        if not typer.confirm("Remove all of it?", default=False):
            console.log("nothing was removed")
            return
    gone = list[Removable]()
    if store is not None:  # a run may have started since the list was printed
        referred = check_clean(store, folders)
        still = {each.entry for each in removable(store, referred)}
        gone = [e for e in found if e.entry in still and remove(store, e.entry, referred)]
    if found or not caches:
        console.log(f"removed     {_sum_of(gone)}")
    listed = {each.path for each in caches}
    for cache in caches_of(store):
        if cache.path in listed:
            discard(cache.path)
            console.log(f"removed     {decimal(cache.size)} of {cache.what}")
    in_use = len(found) - len(gone)
    if in_use:
        console.log(f"kept        {in_use}, which are now needed or in use")


def _list(console: Console, found: Sequence[Removable]) -> None:
    for each in found:
        entry, cost = each.entry, f", {each.cost}" if each.cost.hours != 0 else ""
        if entry.kind == "lock":
            continue  # too many for a line each
        console.log(
            f"{entry.kind:9}  {entry.stage:10} {entry.key}  {decimal(each.size)}{cost}  {each.why}"
        )
    console.log(f"to remove   {_sum_of(found)}" if found else "nothing to remove")


def _sum_of(found: Sequence[Removable]) -> str:
    """Return number, size and cost; the cost of a stage counts once."""
    costs = {each.entry.key: each.cost for each in found if each.cost.hours != 0}
    total = sum(costs.values(), Cost())
    locks = sum(each.entry.kind == "lock" for each in found)
    parts = [f"{len(found) - locks}, {decimal(sum(each.size for each in found))}"]
    if costs:
        parts.append(f"which cost {total} to make (the cost stays in the ledger)")
    if locks:
        parts.append(f"and {locks} unused locks")
    return ", ".join(parts)


def _tell_of_history(
    console: Console, store: Store, referred: References, runs: Sequence[Path]
) -> None:
    kept = [
        entry
        for entry in inventory(store)
        if entry.kind == "artifact" and referred.in_history_alone(entry.key)
    ]
    if kept:
        where = " and ".join(str(folder / ".history") for folder in runs)
        size = decimal(sum(entry.size for entry in kept))
        console.log(f"kept        {len(kept)}, {size}, only for {where}; delete it to free that")
