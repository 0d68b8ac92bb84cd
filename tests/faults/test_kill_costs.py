"""What kills cost: the hours they hide from the ledger, and the work they throw away."""

import random
import signal
import statistics
import time
from itertools import pairwise

import pytest

from tests.faults.command_line import CommandLine
from tests.faults.standing import ledger

KILLS = 20
EPOCHS = 300
LONG = ("--until", "search", "--set", f"search.epochs={EPOCHS}")


def killed_again_and_again(command, rng, seconds, *arguments):
    """Kill it `KILLS` times, each after a random time between two bounds. Returns the moments, by
    process, and the seconds for which all the processes were there."""
    deaths, there = {}, 0.0
    for _ in range(KILLS):
        process, begin = command.start(*arguments), time.monotonic()
        assert process.wait(rng.uniform(*seconds)) is None, "ended before it could be killed"
        deaths[process.id] = time.monotonic()
        process.stop(signal.SIGKILL)
        there += deaths[process.id] - begin
    begin = time.monotonic()
    command.finish(*arguments)
    return deaths, there + time.monotonic() - begin


def seconds_in_stages(command, deaths):
    """From when a stage is taken up until it is made, or the process is gone; over all stages."""
    spent, taken_up = 0.0, {}
    for event in command.happened():
        if event["what"] == "make":
            taken_up[event["process"]] = event["time"]
        elif event["what"] == "made":
            spent += event["time"] - taken_up.pop(event["process"])
    return spent + sum(deaths[process] - begin for process, begin in taken_up.items())


def seconds_thrown_away(command, deaths):
    """Of each kill in an epoch: from the last checkpoint, or the attempt's begin, to the kill."""
    last = {}
    for event in command.happened():
        if event["what"] in ("attempt", "checkpoint"):
            last[event["process"]] = event["time"]
    return [deaths[process] - begin for process, begin in last.items() if process in deaths]


def seconds_an_epoch(command):
    """Of epochs that followed one another in one process."""
    events = [e for e in command.happened("checkpoint") if e["stage"] == "search"]
    return [b["time"] - a["time"] for a, b in pairwise(events) if a["process"] == b["process"]]


@pytest.mark.faults
def test_the_ledger_tells_the_time_of_a_run_that_was_killed_twenty_times(config, tmp_path, capsys):
    command = CommandLine(tmp_path, config)
    deaths, there = killed_again_and_again(command, random.Random(20), (1.0, 4.0), *LONG)
    booked = sum(attempt["seconds"] for attempt in ledger(command.artifacts))
    spent = seconds_in_stages(command, deaths)
    trained = [event["name"] for event in command.happened("checkpoint")]
    thrown_away, epoch = seconds_thrown_away(command, deaths), seconds_an_epoch(command)
    with capsys.disabled():
        print(f"\nledger {booked:.2f} s, in stages {spent:.2f} s ({booked / spent - 1:+.2%}),")
        print(f"processes there {there:.2f} s; {len(deaths)} kills threw away")
        print(f"{statistics.mean(thrown_away):.2f} s (mean), {max(thrown_away):.2f} s (most);")
        print(f"an epoch takes {statistics.mean(epoch):.2f} s (mean), {max(epoch):.2f} s (most)")
    assert abs(booked / spent - 1) < 0.01
    assert len(trained) - len(set(trained)) <= len(deaths)


@pytest.mark.faults
def test_with_checkpoints_within_an_epoch_no_finished_steps_are_lost(config, tmp_path, capsys):
    """Kills of two epochs of 16 steps, each of which leaves a checkpoint."""
    network = (
        "{network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 2, checkpoint_steps: 1}"
    )
    settings, rng, kills = ("--set", f"retrain={network}"), random.Random(1), 0
    command = CommandLine(tmp_path, config)
    command.finish("--until", "search", *settings)
    while (process := command.start("--only", "retrain", *settings)).wait(
        rng.uniform(0, 1)
    ) is None:
        process.stop(signal.SIGKILL)
        kills += 1
    trained = [e["name"] for e in command.happened("checkpoint") if e["stage"] == "retrain"]
    with capsys.disabled():
        print(f"\nSIGKILL: {kills}, {len(trained) - len(set(trained))} ended steps trained again")
    assert len(set(trained)) == 32
    assert len(trained) - len(set(trained)) <= kills
