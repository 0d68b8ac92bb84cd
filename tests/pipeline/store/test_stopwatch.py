"""What an attempt leaves on disk, whatever becomes of its process."""

import time
from dataclasses import replace

import pytest

from classification.errors import ArtifactError
from pipeline.store.ledger import Attempt, Ledger
from pipeline.store.stopwatch import Stopwatch, open_attempt, record_attempt, record_killed_attempt

ATTEMPT = Attempt("search", "abc", "run", "2026-01-01", 0.0, "cpu", "cpu", 1, "killed")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


def kill(stopwatch):
    """As far as a reader of the folder can tell, the process is gone."""
    stopwatch._stop.set()
    stopwatch._thread.join()


def test_the_stopwatch_books_what_it_measured(ledger, tmp_path):
    stopwatch = Stopwatch(ledger, tmp_path / "work", ATTEMPT)
    stopwatch.progress(3, 10, "epoch")
    time.sleep(0.05)
    booked = stopwatch.finish("interrupted")
    assert ledger.attempts() == [booked]
    assert booked.seconds >= 0.05
    assert booked.peak_memory_bytes > 1e6
    assert booked.how_far == " at epoch 3 of 10"
    assert open_attempt(tmp_path / "work") is None


def test_the_waiting_for_a_processor_is_recorded_beside_the_seconds(ledger, tmp_path, monkeypatch):
    schedule = tmp_path / "schedstat"
    schedule.write_text("7000000000 2000000000 31\n")  # ns running, ns waiting, turns
    monkeypatch.setattr("pipeline.store.stopwatch._SCHEDULE", schedule)
    stopwatch = Stopwatch(ledger, tmp_path / "work", ATTEMPT)
    schedule.write_text("8000000000 5000000000 40\n")
    assert stopwatch.finish("done").waited_seconds == 3.0
    assert [attempt.waited_seconds for attempt in ledger.attempts()] == [3.0]
    old = '{"stage": "a", "fingerprint": "b", "run": "c", "started": "d", "seconds": 1, '
    old += '"device": "e", "device_kind": "cpu", "devices": 1, "outcome": "done"}'
    assert Attempt.from_json(old).waited_seconds is None


def test_a_killed_attempt_is_booked_by_the_next_with_all_but_its_last_moments(ledger, tmp_path):
    killed = Stopwatch(ledger, tmp_path, ATTEMPT)
    time.sleep(0.2)  # less than the time between two records
    kill(killed)
    booked = open_attempt(tmp_path)
    assert booked.seconds > 0
    record_killed_attempt(ledger, tmp_path)
    record_killed_attempt(ledger, tmp_path)
    assert ledger.attempts() == [booked]
    assert booked.outcome == "killed"


def test_the_seconds_of_one_attempt_are_not_those_of_the_one_before(ledger, tmp_path):
    first = Stopwatch(ledger, tmp_path, ATTEMPT)
    first.finish("interrupted")
    (tmp_path / "attempt.seconds").write_text("1000.000\n")
    second = Stopwatch(ledger, tmp_path, replace(ATTEMPT, started="2026-01-02"))
    kill(second)
    assert open_attempt(tmp_path).seconds < 1000


def test_an_attempt_killed_after_its_line_was_written_is_not_booked_again(ledger, tmp_path):
    attempt = Stopwatch(ledger, tmp_path, ATTEMPT).stop("interrupted")
    ledger.append(attempt)
    record_killed_attempt(ledger, tmp_path)
    assert ledger.attempts() == [attempt]
    assert open_attempt(tmp_path) is None


def test_what_was_done_but_not_published_was_killed(ledger, tmp_path):
    Stopwatch(ledger, tmp_path, ATTEMPT).stop("done")
    record_killed_attempt(ledger, tmp_path)
    assert [attempt.outcome for attempt in ledger.attempts()] == ["killed"]


def test_an_attempt_that_is_stopped_waits_to_be_booked(ledger, tmp_path):
    attempt = Stopwatch(ledger, tmp_path, ATTEMPT).stop("done")
    assert ledger.attempts() == []
    record_attempt(ledger, tmp_path)
    assert ledger.attempts() == [attempt]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "attempt.json").write_text('{"stage": "sea')
    with pytest.raises(ArtifactError, match=r"attempt\.json: not an attempt record"):
        open_attempt(tmp_path)
