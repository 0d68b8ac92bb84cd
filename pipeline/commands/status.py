"""The `status` command."""

from pathlib import Path

from pipeline.commands.options import RunName, Runs, StoreOf
from pipeline.console import Console
from pipeline.ledger import Cost
from pipeline.page import REPORT
from pipeline.run_folder import RunFolder
from pipeline.status import stage_state
from pipeline.store import store_of


def status(run: RunName, runs: Runs = Path("runs"), artifacts: StoreOf = None) -> None:
    """Show where each stage of a run stands, and what it has cost.

    \b
    Example:
      python run_pipeline.py status quickstart
    """
    folder = RunFolder.open(runs, run)
    manifest = folder.manifest()
    store = store_of(manifest, artifacts)
    console = Console()
    total = Cost()
    for stage, key in manifest["stages"].items():
        state = stage_state(store, stage, key, manifest["name"])
        total += state.cost
        console.say(f"{stage:8} {state.state:28} {state.cost}")
    report_path = folder.report / REPORT
    console.say(f"{'report':8} {str(report_path) if report_path.exists() else 'pending'}")
    console.say(f"{'cost':8} {total} so far")
