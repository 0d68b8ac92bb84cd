"""A run that is stopped at random moments, over and over, until it ends."""

import random
import signal
from itertools import count

import pytest

from tests.faults.command_line import CommandLine
from tests.faults.standing import check_finished, check_standing, ledger, standing

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def duration(reference, last):
    """Seconds from the start to the last event of a kind in the run that nobody stopped."""
    return reference.happened(last)[-1]["time"] - reference.happened("main")[0]["time"]


def run_through(command, reference, signals, longest, rng, report):
    """Start it again and again, each time for at most `longest` seconds, until it ends.

    Without a `report`, which is no artifact and takes longer than all stages, until all artifacts
    stand. After every stop all that stands is whole, as before, and as in the reference. Returns
    how often it was stopped.
    """
    whole, before = standing(reference.artifacts), {}
    for stops in count():
        process, signum = command.start(), rng.choice(signals)
        status = process.wait(rng.uniform(0, longest * (1 + stops / 5)))  # on a slower day too
        stopped = status is None
        if stopped:
            status = process.stop(signum)
        now = standing(command.artifacts)
        check_standing(now, before, whole)
        before = now
        if not stopped or status == 0:  # a signal can come too late to stop anything
            assert status == 0, (command.folder / "output.txt").read_text()
            return stops
        assert status in allowed(process, command, signum)
        if len(now) == len(whole) and not report:
            command.finish("--dry-run")  # which looks at every artifact
            return stops + 1


def allowed(process, command, signum):
    """The exit statuses of a process that a signal stopped."""
    if signum == signal.SIGKILL:
        return (-signum,)
    begun = process.id in {event["process"] for event in command.happened("main")}
    # Before `main` Python itself, or multiprocessing, ends it. An interrupt in Python that torch's
    # C++ called can end in std::terminate at any time: as if killed.
    return (130 if begun else 1, -signum, -signal.SIGABRT)


def check_books(command, reference):
    """Every attempt that began has one line, and one of each stage made what stands."""
    attempts = ledger(command.artifacts)
    known = {(a["stage"], a["fingerprint"], a["started"]) for a in attempts}
    assert len(known) == len(attempts)
    done = sorted(a["stage"] for a in attempts if a["outcome"] == "done")
    assert done == sorted(a["stage"] for a in ledger(reference.artifacts))
    # An attempt begins when its record stands, a moment before that is noted.
    begun, tried = len(command.happened("attempt")), len(command.happened("make"))
    assert begun <= len(attempts) <= tried


def epochs_lost(command, reference):
    """How many epochs were trained again although they had ended before."""
    trained, needed = (
        [(event["stage"], event["name"]) for event in each.happened("checkpoint")]
        for each in (command, reference)
    )
    assert set(trained) == set(needed)
    return len(trained) - len(needed)


def stop_until(number, reference, folder, signals, longest, rng, report=False):
    """Runs from nothing to their end until there were `number` stops in all."""
    stops = lost = runs = 0
    while stops < number:
        runs += 1
        command = CommandLine(folder / str(runs), reference.config)
        stopped = run_through(command, reference, signals, longest, rng, report)
        check_finished(command.artifacts, reference.artifacts)
        check_books(command, reference)
        again = epochs_lost(command, reference)
        assert again <= stopped
        stops, lost = stops + stopped, lost + again
    return stops, runs, lost


def test_a_run_stopped_over_and_over_ends_with_the_bytes_of_one_that_was_not(reference, tmp_path):
    longest = duration(reference, "made") / 3
    stop_until(2, reference, tmp_path, SIGNALS, longest, random.Random(0))


@pytest.mark.faults
@pytest.mark.parametrize(
    ("signum", "number"), [(signal.SIGKILL, 100), (signal.SIGTERM, 20), (signal.SIGINT, 20)]
)
def test_many_stops_during_the_stages(reference, tmp_path, signum, number, capsys):
    longest, rng = duration(reference, "made") / 2, random.Random(number)
    stops, runs, lost = stop_until(number, reference, tmp_path, [signum], longest, rng)
    with capsys.disabled():
        print(f"\n{signum.name}: {stops} in {runs} runs, {lost} ended epochs trained again")


@pytest.mark.faults
def test_many_kills_of_runs_with_their_report(reference, tmp_path, capsys):
    longest, rng = duration(reference, "end"), random.Random(0)
    stops, runs, _ = stop_until(20, reference, tmp_path, [signal.SIGKILL], longest, rng, True)
    with capsys.disabled():
        print(f"\nSIGKILL: {stops} in {runs} runs with their report")
