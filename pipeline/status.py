"""Where the stages of a recorded run stand."""

from dataclasses import dataclass

from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import open_attempt
from pipeline.store.store import Store


@dataclass(frozen=True)
class StageState:
    """Where a stage of a recorded run stands."""

    stage: str
    state: str
    cost: Cost


def stage_state(store: Store, stage: str, key: str, run: str) -> StageState:
    """Reused, done, running, interrupted at n of m, or pending; and what it has cost so far."""
    attempts = store.ledger.attempts([key])
    work = store.workspace(stage, key)
    unbooked = open_attempt(store.path(stage, key)) or open_attempt(work)
    if unbooked and not any(unbooked.is_same_as(attempt) for attempt in attempts):
        attempts.append(unbooked)
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
    outcome = "interrupted" if last.outcome in ("interrupted", "killed") else last.outcome
    return StageState(stage, f"{outcome}{last.how_far}", cost)
