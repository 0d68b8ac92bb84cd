"""The `verify` command."""

from pathlib import Path
from typing import Annotated

import typer

from classification.errors import ArtifactError
from pipeline.commands.options import Runs, StoreOf
from pipeline.console import Console
from pipeline.maintenance.inventory import inventory, recorded_runs
from pipeline.maintenance.verification import Finding, check_entry, check_ledger, check_run
from pipeline.run_folder import RunFolder
from pipeline.store.store import store_of

_CHECKED = ("artifact", "begun")


def verify(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="name or path of a run (default: everything in the store)"
        ),
    ] = None,
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
) -> int:
    """Check every artifact, checkpoint and record against its checksum.

    Changes nothing. Exit status: 0 all intact, 1 something is damaged, 2 bad input.

    \b
    Example:
      python run_pipeline.py verify
      python run_pipeline.py verify quickstart
    """
    console = Console()
    folders = [RunFolder.open(runs, run)] if run is not None else recorded_runs(runs)
    store = store_of({} if run is None else folders[0].manifest(), artifacts)
    wanted = None if run is None else set(folders[0].manifest()["stages"].items())
    entries = [
        entry
        for entry in inventory(store)
        if entry.kind in _CHECKED and (wanted is None or (entry.stage, entry.key) in wanted)
    ]
    findings: list[Finding] = []

    def tell(finding: Finding, place: str = "") -> None:
        findings.append(finding)
        console.log(place + str(finding))

    for number, entry in enumerate(entries, 1):
        tell(check_entry(store, entry), f"{number}/{len(entries)}  ")
    tell(check_ledger(store))
    try:
        attempts = store.ledger.attempts()
    except ArtifactError:
        attempts = []
    for folder in folders:
        tell(check_run(folder, store, attempts))
    damaged = sum(finding.damaged for finding in findings)
    console.log(f"{len(findings)} checked, {damaged} damaged")
    if damaged:
        console.log("`run` makes damaged artifacts again when it needs them")
    return 1 if damaged else 0
