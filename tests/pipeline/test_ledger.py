import time
from dataclasses import replace

import pytest

from pipeline.ledger import (
    Attempt,
    Cost,
    Ledger,
    Stopwatch,
    book_killed_attempt,
    last_making,
    open_attempt,
)

ATTEMPT = Attempt("search", "abc", "run", "2026-01-01", 1800.0, "cpu", "cpu", 1, "done")


def test_hours_count_every_device_held():
    assert Cost.of([replace(ATTEMPT, devices=4, device_kind="gpu")]) == Cost(gpu_hours=2.0)


def test_cpu_and_gpu_hours_are_never_added_up():
    cost = Cost.of([ATTEMPT, replace(ATTEMPT, device_kind="gpu", seconds=3600.0)])
    assert (cost.gpu_hours, cost.cpu_hours, cost.hours) == (1.0, 0.5, None)
    assert str(cost) == "1 GPU-hours + 0.5 CPU-hours"


def test_failed_and_killed_attempts_cost_too(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for outcome in ("failed", "killed", "interrupted", "done"):
        ledger.append(replace(ATTEMPT, outcome=outcome))
    ledger.append(replace(ATTEMPT, fingerprint="other"))
    assert Cost.of(ledger.attempts(["abc"])) == Cost(cpu_hours=2.0)
    assert len(ledger.attempts()) == 5


@pytest.mark.parametrize(
    ("outcomes", "making"),
    [
        ("", ""),
        ("interrupted killed", ""),
        ("done", "done"),
        ("killed done", "killed done"),
        ("killed done interrupted done", "interrupted done"),
        ("done done failed", "done"),
    ],
)
def test_the_last_making_is_what_led_to_the_artifact_that_stands(outcomes, making):
    attempts = [replace(ATTEMPT, outcome=outcome) for outcome in outcomes.split()]
    assert [attempt.outcome for attempt in last_making(attempts)] == making.split()


def test_a_torn_line_costs_only_itself(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ATTEMPT)
    with ledger.path.open("a") as file:
        file.write('{"stage": "sea')
    ledger.append(ATTEMPT)
    assert ledger.attempts() == [ATTEMPT, ATTEMPT]


def test_the_stopwatch_books_what_it_measured(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    stopwatch = Stopwatch(ledger, tmp_path / "work", replace(ATTEMPT, outcome="killed"))
    stopwatch.progress(3, 10, "epoch")
    time.sleep(0.05)
    booked = stopwatch.finish("interrupted")
    assert ledger.attempts() == [booked]
    assert booked.seconds >= 0.05
    assert booked.peak_memory_bytes > 1e6
    assert booked.how_far == " at epoch 3 of 10"
    assert open_attempt(tmp_path / "work") is None


def test_a_killed_attempt_is_booked_by_the_next(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    killed = Stopwatch(ledger, tmp_path, ATTEMPT)
    time.sleep(0.7)  # one heartbeat
    killed._stop.set()
    killed._thread.join()  # as far as a reader of the folder can tell, the process is gone
    book_killed_attempt(ledger, tmp_path)
    (attempt,) = ledger.attempts()
    assert attempt.outcome == "killed"
    assert attempt.seconds >= 0.5
    book_killed_attempt(ledger, tmp_path)
    assert len(ledger.attempts()) == 1


@pytest.mark.parametrize(("hours", "text"), [(0.0, "0 CPU-hours"), (1e-5, "1e-05 CPU-hours")])
def test_small_costs_do_not_vanish(hours, text):
    assert str(Cost(cpu_hours=hours)) == text
