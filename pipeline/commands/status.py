"""The `status` command."""

from dataclasses import asdict
from pathlib import Path

from pipeline.commands.options import Json, RunName, Runs, StoreOf
from pipeline.console import Console, print_json
from pipeline.reports.page import REPORT
from pipeline.run_folder import RunFolder
from pipeline.status import stage_state
from pipeline.store.ledger import Cost
from pipeline.store.store import store_of


def status(
    run: RunName, runs: Runs = Path("runs"), artifacts: StoreOf = None, json_: Json = False
) -> None:
    """Show where each stage of a run stands, and what it has cost.

    \b
    Example:
      python run_pipeline.py status quickstart
    """
    folder = RunFolder.open(runs, run)
    manifest = folder.manifest()
    store = store_of(manifest, artifacts)
    console = Console.choose(False, json_)
    states = [
        stage_state(store, stage, key, manifest["name"])
        for stage, key in manifest["stages"].items()
    ]
    for state in states:
        console.say(f"{state.stage:8} {state.state:28} {state.cost}")
    report_path = folder.report / REPORT
    report = str(report_path) if report_path.exists() else None
    total = sum((state.cost for state in states), Cost())
    console.say(f"{'report':8} {report or 'pending'}")
    console.say(f"{'cost':8} {total} so far")
    if json_:
        print_json(
            {
                "run": manifest["name"],
                "stages": [asdict(state) for state in states],
                "report": report,
                "cost": asdict(total),
            }
        )
