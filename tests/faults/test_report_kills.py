"""A kill before each change that a report makes on disk, and half way through its writes."""

import shutil
import signal

import pytest

from tests.faults.command_line import CommandLine
from tests.faults.kill_points import Place
from tests.faults.standing import FIGURES, standing

TEXTS = ("report.md", "results.json")


def finished_stages(reference, folder):
    """The command line on a copy of a finished store, without its run."""
    command = CommandLine(folder, reference.config)
    shutil.copytree(reference.artifacts, command.artifacts)
    return command


def texts(command):
    """What the report says, wherever it lies; the stages' costs are copied with the ledger."""
    found = (command.runs / "tiny" / "report" / name for name in TEXTS)
    return {
        path.name: path.read_text().replace(str(command.folder), "FOLDER")
        for path in found
        if path.exists()
    }


def files(command):
    """Names of the report's files."""
    return {path.name for path in (command.runs / "tiny" / "report").iterdir()}


@pytest.mark.faults
@pytest.mark.parametrize("torn", [False, True])
def test_a_kill_at_any_change_of_a_report_shows_no_half_of_it(reference, tmp_path, torn, capsys):
    expected = texts(reference)
    assert expected.keys() == set(TEXTS)
    command = finished_stages(reference, tmp_path / "points")
    assert command.start(place=Place(0, torn)).wait() == 0
    changes = command.happened("point")
    for number, change in enumerate(changes, start=1):
        command = finished_stages(reference, tmp_path / str(number))
        before = standing(command.artifacts)
        assert command.start(place=Place(number, torn)).wait() == -signal.SIGKILL
        assert texts(command).items() <= expected.items(), change
        command.finish()
        assert texts(command) == expected, change
        whole = {name for name in files(reference) if not name.endswith(".tmp")}
        assert whole <= files(command)
        assert {name for name in whole if name.endswith(tuple(FIGURES))}
        assert standing(command.artifacts) == before
        shutil.rmtree(command.folder)
    with capsys.disabled():
        print(f"\nSIGKILL: {len(changes)} in the report, {'torn' if torn else 'between changes'}")
