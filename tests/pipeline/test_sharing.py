"""A contest made by two processes, by torchrun, and one that is killed: no contestant is trained
twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from classification.persistence.workspace import finished_steps
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


def run_jointly(folder, noted):
    """In a process of torchrun: make the contest; the first process is killed once.

    The first process notes each training that is not finished; both call `retrain` for every
    contestant, because only the first has its checkpoints.
    """
    honest, first = contest.retrain, os.environ["RANK"] == "0"

    def retrain(*arguments, workspace, rounds, **named):
        if first and finished_steps(workspace.directory) < sum(rounds):
            with noted.open("a") as file:
                file.write(json.dumps([workspace.directory.name, len(rounds), os.getpid()]) + "\n")
            if len(trainings(noted)) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return honest(*arguments, workspace=workspace, rounds=rounds, **named)

    contest.retrain = retrain
    return Place(folder, TINY + CONTEST).run(options=UNTIL)


@pytest.mark.long
def test_torchrun_gives_the_winner_and_widths_of_one_process_and_trains_nothing_again(
    alone, fresh, tmp_path
):
    noted, script, before = tmp_path / "noted", tmp_path / "jointly.py", len(attempts(fresh))
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from tests.pipeline.test_sharing import run_jointly\n"
        "sys.exit(run_jointly(*map(Path, sys.argv[1:])))\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    launched = subprocess.run(
        [sys.executable, *torchrun, "--max-restarts=1", str(script), str(fresh.folder), str(noted)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert launched.returncode == 0, launched.stderr
    one, two = content(alone), content(fresh)
    for name in ("widths.json", "genotype.json"):
        assert one[name] == two[name]
    one, two = (json.loads(each["contest.json"]) for each in (one, two))
    assert one["winner"] == two["winner"]
    assert [each["channels"] for each in one["contestants"]] == [
        each["channels"] for each in two["contestants"]
    ]
    begun = [tuple(training) for *training, _ in trainings(noted)]
    assert len(processes(noted)) == 2
    assert Counter(Counter(begun).values()) == {1: sum(ROUNDS) - 1, 2: 1}
    assert begun[2] == begun[3]  # the training that was killed
    own = attempts(fresh)[before:]
    assert [each.outcome for each in own] == ["killed", "done"]
    assert {each.devices for each in own} == {2}
