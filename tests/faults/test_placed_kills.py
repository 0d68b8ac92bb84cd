"""A kill before each change that a stage makes on disk, and half way through each of its writes."""

import shutil
import signal

import pytest

from tests.faults.command_line import CommandLine
from tests.faults.kill_points import Place
from tests.faults.standing import check_finished, check_standing, ledger, standing

STAGES = ["scorer", "scores", "subset", "search", "retrain"]


def without(stage, reference, folder):
    """The command line on a copy of a finished store from which a stage is missing."""
    command = CommandLine(folder, reference.config)
    shutil.copytree(reference.artifacts, command.artifacts)
    shutil.rmtree(command.artifacts / stage)
    (command.artifacts / "ledger.jsonl").unlink()
    return command


def points(reference, folder, stage, torn):
    """Every place in the making of a stage, and what is changed there."""
    command = without(stage, reference, folder)
    assert command.start("--only", stage, place=Place(0, torn)).wait() == 0
    changes = [f"{each['event']} {each['path']}" for each in command.happened("point")]
    shutil.rmtree(folder)
    return {Place(number, torn): change for number, change in enumerate(changes, start=1)}


def kill_at(place, stage, reference, folder):
    """Kill the making of a stage at a place, look, let it end, and look again."""
    whole = standing(reference.artifacts)
    command = without(stage, reference, folder)
    before = standing(command.artifacts)
    assert command.start("--only", stage, place=place).wait() == -signal.SIGKILL
    killed = standing(command.artifacts)
    check_standing(killed, before, whole)
    command.finish("--only", stage)
    check_standing(standing(command.artifacts), killed, whole)
    check_finished(command.artifacts, reference.artifacts)
    attempts = ledger(command.artifacts)
    assert [a["outcome"] for a in attempts] in (["done"], ["killed", "done"])
    begun, tried = len(command.happened("attempt")), len(command.happened("make"))
    assert begun <= len(attempts) <= tried
    checkpoints = [event["name"] for event in command.happened("checkpoint")]
    assert len(checkpoints) - len(set(checkpoints)) <= 1
    shutil.rmtree(folder)


@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_while_an_artifact_is_published_loses_and_doubles_nothing(reference, tmp_path, torn):
    places = points(reference, tmp_path / "points", "subset", torn)
    changes = list(places.values())
    first = next(i for i, each in enumerate(changes) if ".artifact.json" in each)
    for place in list(places)[first::2]:  # every second one; the long test has all
        kill_at(place, "subset", reference, tmp_path / "killed")


@pytest.mark.faults
@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_change_of_a_stage_loses_and_doubles_nothing(
    reference, tmp_path, stage, torn, capsys
):
    places = points(reference, tmp_path / "points", stage, torn)
    for place, change in places.items():
        try:
            kill_at(place, stage, reference, tmp_path / "killed")
        except AssertionError as error:
            raise AssertionError(f"killed at {place}: {change}") from error
    with capsys.disabled():
        print(f"\nSIGKILL: {len(places)} in {stage}, {'torn' if torn else 'between changes'}")
