"""The `status` command."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.commands.options import Json, RunName, Runs, StoreOf
from pipeline.console import Console, print_json
from pipeline.run_folder import REPORT, RunFolder
from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import open_attempt
from pipeline.store.store import Store, store_of


def status(
    run: RunName, runs: Runs = Path("runs"), artifacts: StoreOf = None, json_: Json = False
) -> None:
    """Show the state and the cost of each stage of a run.

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
        console.log(f"{state.stage:8} {state.state:28} {state.cost}")
    report_path = folder.report / REPORT
    report = str(report_path) if report_path.exists() else None
    total = sum((state.cost for state in states), Cost())
    console.log(f"{'report':8} {report or 'pending'}")
    console.log(f"{'cost':8} {total} so far")
    if json_:
        print_json(
            {
                "run": manifest["name"],
                "stages": [asdict(state) for state in states],
                "report": report,
                "cost": asdict(total),
            }
        )


@dataclass(frozen=True)
class StageState:
    """State and cost of a stage of a recorded run."""

    stage: str
    state: str
    cost: Cost


def stage_state(store: Store, stage: str, key: str, run: str) -> StageState:
    """Return the state (reused, done, running, interrupted at n of m, pending) and its cost."""
    attempts = store.ledger.attempts([key])
    work = store.workspace(stage, key)
    unrecorded = open_attempt(store.path(stage, key)) or open_attempt(work)
    if unrecorded and not any(unrecorded.is_same_as(attempt) for attempt in attempts):
        attempts.append(unrecorded)
    cost = Cost.of(attempts)
    if store.path(stage, key).exists():
        makers = [attempt.run for attempt in attempts if attempt.outcome == "done"]
        reused = bool(makers) and run not in makers
        return StageState(stage, f"reused from run {makers[-1]}" if reused else "done", cost)
    last = attempts[-1] if attempts else None
    if last is None:
        return StageState(stage, "pending", cost)
    if store.is_locked(stage, key):
        return StageState(stage, f"running{last.how_far}", cost)
    stopped = last.outcome in ("interrupted", "killed", "part")
    outcome = "interrupted" if stopped else last.outcome
    return StageState(stage, f"{outcome}{last.how_far}", cost)
