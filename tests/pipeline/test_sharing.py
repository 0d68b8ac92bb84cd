"""A contest made by two processes, and one that is killed: no contestant is trained twice."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from evaluate import contest
from pipeline.store.ledger import Ledger
from tests.preloaded import start_process
from tests.tiny import TINY, Place

CONTEST = """
budget: {parameters: 5K}
contest: {random: 3, rounds: 2, share_kept: 0.6,
          training: {cells: 3, epochs: 1, batch_size: 32}}
"""
ROUNDS = [4, 2]  # contestants of each round
UNTIL = ["--until", "contest"]


class Noted:
    """Trains contestants; notes each beginning, with its process, in a file."""

    def __init__(self, path: Path, kill_at: int | None = None) -> None:
        self.honest, self.path, self.kill_at = contest.retrain, path, kill_at

    def __call__(self, *arguments, workspace, rounds, **named):
        line = [workspace.directory.name, len(rounds), os.getpid()]
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if len(trainings(self.path)) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while self.kill_at is None and len(processes(self.path)) < 2:
            assert time.monotonic() < deadline, "the other process trained nothing"
            time.sleep(0.01)
        return self.honest(*arguments, workspace=workspace, rounds=rounds, **named)


def trainings(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def processes(path):
    return {process for *_, process in trainings(path)}


def run(folder, noted, kill_at):
    """In a process of its own: make the contest again."""
    contest.retrain = Noted(noted, kill_at)
    os._exit(Place(folder, TINY + CONTEST).run(options=UNTIL))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("shared"), TINY + CONTEST)
    assert place.run(options=UNTIL) == 0
    return place


@pytest.fixture
def fresh(alone, tmp_path):
    """The same store without the contest."""
    shutil.copytree(alone.folder / "artifacts", tmp_path / "artifacts")
    shutil.rmtree(tmp_path / "artifacts/contest")
    return Place(tmp_path, TINY + CONTEST)


def content(place):
    folder = place.artifact("contest")
    names = ("contest.json", "metrics.jsonl", "widths.json", "genotype.json")
    return {name: (folder / name).read_bytes() for name in names}


def attempts(place):
    found = Ledger(place.folder / "artifacts/ledger.jsonl").attempts()
    return [each for each in found if each.stage == "contest"]


def test_two_runs_share_the_contestants_of_a_contest_and_end_with_the_same_bytes(
    alone, fresh, tmp_path, monkeypatch
):
    noted, before = tmp_path / "noted", len(attempts(fresh))
    maker = start_process(run, fresh.folder, noted, None)
    while not trainings(noted):
        assert maker.is_alive()
        time.sleep(0.01)
    monkeypatch.setattr(contest, "retrain", Noted(noted))
    assert fresh.run(name="helper", options=UNTIL) == 0
    maker.join()
    assert maker.exitcode == 0
    assert content(fresh) == content(alone)
    begun = [tuple(training) for *training, _ in trainings(noted)]
    assert len(begun) == len(set(begun)) == sum(ROUNDS)
    helped = [process for *_, process in trainings(noted) if process == os.getpid()]
    assert 1 <= len(helped) < sum(ROUNDS)
    own = attempts(fresh)[before:]
    assert Counter(each.outcome for each in own) == {"part": len(helped), "done": 1}
    assert {each.run for each in own if each.outcome == "part"} == {"helper"}


def test_a_killed_contest_with_a_budget_trains_no_finished_contestant_again(
    alone, fresh, tmp_path, monkeypatch
):
    noted = tmp_path / "noted"
    killed = start_process(run, fresh.folder, noted, 3)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    monkeypatch.setattr(contest, "retrain", Noted(noted, 0))
    monkeypatch.setattr("pipeline.stages.contest.describe_width", None)  # the widths are kept
    assert fresh.run(options=UNTIL) == 0
    assert content(fresh) == content(alone)
    begun = Counter(tuple(training) for *training, _ in trainings(noted))
    assert begun.total() == sum(ROUNDS) + 1
    assert begun["contestant-0002", 1] == 2  # which the kill stopped
    assert [each.outcome for each in attempts(fresh)[-2:]] == ["killed", "done"]
