from dataclasses import replace

import pytest

from pipeline.store.ledger import Attempt, Cost, Ledger, last_making

ATTEMPT = Attempt("search", "abc", "run", "2026-01-01", 1800.0, "cpu", "cpu", 1, "done")


def test_hours_count_every_device_held():
    assert Cost.of([replace(ATTEMPT, devices=4, device_kind="gpu")]) == Cost(
        gpu_hours=2.0, wall_hours=0.5
    )


def test_cpu_hours_are_core_hours_so_threads_and_processes_count_alike():
    one, two = (
        Cost.of([replace(ATTEMPT, devices=processes, threads=threads)])
        for processes, threads in ((1, 2), (2, 1))
    )
    assert one == two == Cost(cpu_hours=1.0, wall_hours=0.5)


def test_threads_do_not_count_beside_a_gpu():
    assert Cost.of([replace(ATTEMPT, device_kind="gpu", threads=8)]).gpu_hours == 0.5


def test_a_line_without_threads_counts_one(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ATTEMPT)
    ledger.path.write_text(ledger.path.read_text().replace(', "threads": 1', ""))
    assert ledger.attempts() == [ATTEMPT]


def test_cpu_and_gpu_hours_are_never_added_up():
    cost = Cost.of([ATTEMPT, replace(ATTEMPT, device_kind="gpu", seconds=3600.0)])
    assert (cost.gpu_hours, cost.cpu_hours, cost.hours) == (1.0, 0.5, None)
    assert str(cost) == "1 GPU-hour + 30 CPU-minutes"


def test_failed_and_killed_attempts_cost_too(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for second, outcome in enumerate(("failed", "killed", "interrupted", "done")):
        ledger.append(replace(ATTEMPT, outcome=outcome, started=f"2026-01-01T00:00:0{second}"))
    ledger.append(replace(ATTEMPT, fingerprint="other"))
    assert Cost.of(ledger.attempts(["abc"])) == Cost(cpu_hours=2.0, wall_hours=2.0)
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
    other = replace(ATTEMPT, fingerprint="other")
    ledger.append(other)
    assert ledger.attempts() == [ATTEMPT, other]


def test_an_attempt_has_one_line_however_often_it_is_booked(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    again = replace(ATTEMPT, started="2026-01-02")
    for attempt in (ATTEMPT, replace(ATTEMPT, seconds=1801.0), again, ATTEMPT):
        ledger.append(attempt)
    assert ledger.attempts() == [ATTEMPT, again]


@pytest.mark.parametrize(("hours", "text"), [(0.0, "0 CPU-seconds"), (1e-5, "0.036 CPU-seconds")])
def test_small_costs_do_not_vanish(hours, text):
    assert str(Cost(cpu_hours=hours)) == text
