"""Several processes on one store, and what becomes of a run when its surroundings go away."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from run_pipeline import main
from tests.pipeline.command_process import CommandProcess

ROOT = Path(__file__).parents[3]
CLASSIFIER = """
name: tiny
goal: classifier
data:   {kind: digits, classes: 2, images_per_class: 16}
scorer: {model: resnet8, epochs: 12, batch_size: 16, mixing: {kind: none}}
"""
SUBSET = """
name: probed
goal: subset
data:   {kind: digits, classes: 2, images_per_class: 16}
subset: {measure: random, fraction: 0.5}
probe:  {model: resnet8, epochs: 12, batch_size: 8, mixing: {kind: none}}
"""
LONG = ["--set", "scorer.epochs=1000"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(CLASSIFIER)
    (tmp_path / "probed.yaml").write_text(SUBSET)
    return tmp_path


@pytest.fixture
def start():
    """Starts commands that do not outlive the test."""
    started = []

    def begin(*arguments, **options):
        started.append(CommandProcess(*arguments, **options))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        each.process.join()


def run(folder, *more, config="tiny.yaml", artifacts="artifacts"):
    places = ["--artifacts", str(folder / artifacts), "--runs", str(folder / "runs")]
    return ["run", str(folder / config), "--device", "cpu", *places, *more]


def ledger(folder):
    lines = (folder / "artifacts" / "ledger.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def outcomes(folder):
    return [attempt["outcome"] for attempt in ledger(folder)]


def contents(artifacts):
    """The bytes of all that is published, by place."""
    return {p.relative_to(artifacts): p.read_bytes() for p in artifacts.glob("*/[0-9a-f]*/*")}


def refusal(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("tiny", "this run is in progress in another process; waiting"),
        ("other", "another run is making"),
    ],
)
def test_a_run_that_waited_for_a_killed_one_ends_with_the_same_bytes(folder, start, name, waits):
    first = start(folder, *run(folder), stop_at="scorer   epoch 1/12")
    first.wait_until_stopped()
    second = start(folder, *run(folder, "--name", name))
    second.wait_for(waits)
    first.send("SIGKILL")
    assert second.end() == 0, second.errors
    assert outcomes(folder) == ["killed", "done"]
    assert main(run(folder, "--name", "whole", artifacts="whole")) == 0
    made = contents(folder / "artifacts")
    assert made == contents(folder / "whole")
    assert len(made) >= 3


def test_another_run_under_a_name_that_is_at_work_is_refused(folder, start, capsys):
    first = start(folder, *run(folder, *LONG))
    first.wait_for("scorer   epoch 1/1000")
    written = (folder / "runs" / "tiny" / "config.yaml").read_text()
    assert main(run(folder)) == 2
    assert "tiny: another run named tiny with other settings is in progress" in refusal(capsys)
    assert (folder / "runs" / "tiny" / "config.yaml").read_text() == written
    assert not (folder / "runs" / ".history").exists()
    first.send("SIGKILL")
    first.end()
    assert main(run(folder)) == 0
    assert (folder / "runs" / ".history" / "tiny-1" / "config.yaml").read_text() == written


def test_status_and_report_look_at_a_run_that_goes_on_without_touching_it(folder, start, capsys):
    first = start(folder, *run(folder), stop_at="scorer   epoch 1/12")
    first.wait_until_stopped()
    runs = ["--runs", str(folder / "runs")]
    assert main(["status", "tiny", *runs]) == 0
    assert "scorer   running" in capsys.readouterr().out
    assert main(["report", "tiny", *runs]) == 2
    assert "tiny: the run has no scorer yet" in refusal(capsys)
    first.send("SIGCONT")
    assert first.end() == 0
    assert main(["report", "tiny", *runs]) == 0


def test_force_waits_for_the_process_that_makes_the_stage_and_then_makes_it_again(folder, start):
    first = start(folder, *run(folder), stop_at="scorer   epoch 1/12")
    first.wait_until_stopped()
    second = start(folder, *run(folder, "--name", "other", "--force", "scorer"))
    second.wait_for("another run is making it; waiting")
    first.send("SIGCONT")
    assert (first.end(), second.end()) == (0, 0)
    assert [(a["run"], a["outcome"]) for a in ledger(folder)] == [
        ("tiny", "done"),
        ("other", "done"),
    ]


def test_force_on_a_stage_that_another_process_reads_leaves_that_one_its_result(folder, start):
    first = start(folder, *run(folder, config="probed.yaml"), stop_at="probe    epoch 1/12")
    first.wait_until_stopped()
    forced = ["--name", "other", "--force", "subset", "--until", "subset"]
    assert main(run(folder, *forced, config="probed.yaml")) == 0
    first.send("SIGCONT")
    assert first.end() == 0
    before = contents(folder / "artifacts")
    assert main(run(folder, config="probed.yaml")) == 0
    assert contents(folder / "artifacts") == before
    assert [a["stage"] for a in ledger(folder)] == ["subset", "subset", "probe"]


def test_a_terminal_that_closes_stops_a_run_as_ctrl_c_does(folder, start):
    first = start(folder, *run(folder, *LONG))
    first.wait_for("scorer   epoch 1/1000")
    first.send("SIGHUP")
    assert first.end() == 130
    assert "resume with: python run_pipeline.py run" in first.errors
    assert outcomes(folder) == ["interrupted"]


def test_under_nohup_a_run_outlives_its_terminal(folder, start):
    first = start(folder, *run(folder), nohup=True)
    first.wait_for("scorer   epoch 1/12")
    first.send("SIGHUP")
    assert first.end() == 0
    assert outcomes(folder) == ["done"]


def test_a_run_whose_output_nobody_reads_any_more_goes_on_and_logs(folder, start):
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    first = start(folder, *run(folder), output=pipe)
    with pipe.open() as head:
        assert head.readline().startswith("run tiny on")
    assert first.end() == 0
    assert first.errors == ""
    assert "scorer   done" in (folder / "runs" / "tiny" / "log.txt").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(("command", "status"), [("run", 0), ("config", 1)])
def test_a_full_disk_behind_the_output_ends_no_run(folder, start, command, status):
    """What is printed is all that `config` makes, and beside the point of `run`."""
    arguments = run(folder) if command == "run" else ["config", str(folder / "tiny.yaml")]
    first = start(folder, *arguments, output=Path("/dev/full"))
    assert first.end() == status
    expected = "" if status == 0 else "error: standard output: No space left on device"
    assert first.errors.startswith(expected)
    assert first.errors.count("\n") == status


def test_a_store_that_is_removed_under_a_run_is_named(folder, start):
    first = start(folder, *run(folder, *LONG))
    first.wait_for("scorer   epoch 1/1000")
    while (folder / "artifacts").exists():
        shutil.rmtree(folder / "artifacts", ignore_errors=True)
    assert first.end() == 1
    assert first.errors.count("\n") == 1, first.errors
    assert str(folder / "artifacts") in first.errors
    assert main(run(folder)) == 0


def test_a_config_edited_under_a_run_counts_from_the_next_run_on(folder, start, capsys):
    first = start(folder, *run(folder))
    first.wait_for("scorer   epoch 1/12")
    config = folder / "tiny.yaml"
    config.write_text(CLASSIFIER.replace("epochs: 12", "epochs: 2"))
    assert first.end() == 0
    assert "epochs: 12" in (folder / "runs" / "tiny" / "config.yaml").read_text()
    assert main(run(folder)) == 0
    shown = capsys.readouterr().out
    assert "changed since the last run of this name: scorer.epochs 12 → 2\n" in shown
    assert "scorer   made again" in shown
    assert f"was moved to {folder / 'runs' / '.history'}" in shown


@pytest.mark.long
def test_a_run_needs_neither_home_nor_the_repository_as_its_folder_nor_plain_paths(tmp_path):
    """Spaces, other scripts, a relative config, no HOME, and a umask that shuts others out."""
    place = tmp_path / "größer als 0" / "日本 & co"
    place.mkdir(parents=True)
    (place / "my config.yaml").write_text(CLASSIFIER.replace("epochs: 12", "epochs: 1"))
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    command = [sys.executable, ROOT / "run_pipeline.py", "run", "my config.yaml", "--device", "cpu"]
    done = subprocess.run(
        command, cwd=place, env=environment, umask=0o077, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (place / "runs" / "tiny" / "report" / "report.md").exists()
    files = [p for p in place.rglob("*") if p.name != "my config.yaml"]
    assert len(files) > 10
    assert not any(stat.S_IMODE(p.stat().st_mode) & 0o077 for p in files)
