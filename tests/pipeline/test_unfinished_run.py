"""Runs that are not finished: the line that resumes them, the warning of a new one, the report."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pipeline.commands.run import _unrecorded
from pipeline.config import dump_config, load_config
from pipeline.estimates import new_run
from pipeline.estimates.new_run import warn_of_new_run
from pipeline.run_folder import LastRun, RunFolder
from pipeline.runner import Selection
from pipeline.stages import STAGES
from pipeline.store.store import Store
from run_pipeline import main
from tests.tiny import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("unfinished"))
    assert place.run(options=["--until", "search"]) == 0
    return place


def test_a_report_names_what_exists_and_what_is_missing(place, capsys):
    assert main(["report", "tiny", "--runs", str(place.folder / "runs")]) == 0
    shown = capsys.readouterr().out
    for part in (
        "- scorer",
        "reliability of the ranking",
        "36 images by high-CV",
        "missing: retrain",
    ):
        assert part in shown
    assert "resume with: `python run_pipeline.py run " in shown
    assert "--name tiny" in shown
    written = place.read("tiny/report/unfinished.md")
    assert "missing: retrain" in written
    for name in ("gallery.png", "cv.png", "visibility.png"):
        assert f"({name})" in written
        assert (place.folder / "runs/tiny/report" / name).exists()


def test_ctrl_c_names_the_runs_own_config(place, capsys, monkeypatch):
    def stop(context):
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "retrain", replace(STAGES["retrain"], run=stop))
    assert place.run() == 130
    line = capsys.readouterr().err.splitlines()[-1]
    config = place.folder / "runs" / "tiny" / "config.yaml"
    assert f"resume with: python run_pipeline.py run {config} --name tiny --device cpu" in line
    assert "--set" not in line


def test_the_report_of_the_finished_run_replaces_that_of_the_unfinished_one(place):
    assert main(["report", "tiny", "--runs", str(place.folder / "runs")]) == 0
    report = place.folder / "runs" / "tiny" / "report"
    assert (report / "unfinished.md").exists()
    assert place.run() == 0
    assert (report / "report.md").exists()
    assert not (report / "unfinished.md").exists()


@pytest.mark.parametrize(
    ("stopped_in", "expected"),
    [
        ("scores", ["--device", "cpu", "--force", "search", "--tensorboard"]),
        ("search", ["--device", "cpu", "--force", "search", "--tensorboard"]),
        ("retrain", ["--device", "cpu", "--tensorboard"]),  # the search has been made again
    ],
)
def test_the_resume_line_has_the_options_that_resuming_needs(stopped_in, expected):
    runner = SimpleNamespace(order=["scorer", "scores", "subset", "search", "retrain"])
    forced = Selection(force="search")
    assert _unrecorded("cpu", forced, True, runner, stopped_in) == expected
    assert _unrecorded("auto", Selection(until="search"), False, runner, "scorer") == [
        "--until",
        "search",
    ]


def test_a_run_without_the_settings_of_the_last_one_warns_that_it_is_new(
    place, capsys, monkeypatch
):
    monkeypatch.setattr(new_run, "SECONDS", 0.2)
    estimated, estimate = [], new_run.estimate
    monkeypatch.setattr(
        new_run,
        "estimate",
        lambda *given, **more: estimated.append(estimate(*given, **more)) or estimated[0],
    )
    shutil.rmtree(place.artifact("retrain"))  # unfinished
    history = place.folder / "runs" / ".history"
    (history / "tiny-short-3").mkdir(parents=True)  # another run's
    assert place.run("subset.fraction=0.75", options=["--until", "subset"]) == 0
    shown = capsys.readouterr().out
    assert "this begins a new run of about" in shown
    assert f"was moved to {history / 'tiny-1'}\n" in shown
    assert f"run {history / 'tiny-1' / 'config.yaml'}" in shown
    hours = {stage.stage: stage.hours for stage in estimated[0].stages}
    assert list(hours) == ["scorer", "scores", "subset"]  # what --until selects
    assert (hours["scorer"], hours["scores"]) == (0, 0)  # they are reused
    assert hours["subset"] > 0


@pytest.fixture
def noted(place, monkeypatch):
    """Messages of `warn_of_new_run` about a changed last run; the new one costs half an hour."""
    cost = lambda *given, **more: SimpleNamespace(total=0.5)  # noqa: E731
    monkeypatch.setattr(new_run, "estimate", cost)
    monkeypatch.setattr(new_run, "Runner", lambda *given: None)
    config, messages = load_config(place.config), []
    runner = SimpleNamespace(
        config=config,
        store=Store(place.folder / "elsewhere"),
        datasets={},
        device=torch.device("cpu"),
        stages=STAGES,
        order=["search"],
        console=SimpleNamespace(log=messages.append),
    )
    last = LastRun("other: settings", {"search": "0123"}, str(place.folder / "artifacts"))

    def warn(**changes):
        moved = RunFolder(place.folder / "runs" / ".history" / "tiny-7")
        warn_of_new_run(runner, Selection(), replace(last, **changes), moved)
        return messages

    return SimpleNamespace(
        warn=warn, same=dump_config(config), artifacts=place.folder / "artifacts"
    )


def test_the_warning_names_the_folders_of_the_last_run(noted):
    (message,) = noted.warn()
    assert "a new run of about 30 CPU-minutes; the last run named tiny had other" in message
    assert "is not finished; resume with: python run_pipeline.py run " in message
    assert message.endswith(
        f"--name tiny --runs {noted.artifacts.parent / 'runs'} --artifacts {noted.artifacts}"
    )


def test_only_other_settings_of_an_unfinished_run_are_worth_a_warning(noted):
    assert noted.warn(config_text=noted.same) == []  # the images or the code changed
    (noted.artifacts / "search" / "0123").mkdir(parents=True)
    assert noted.warn() == []  # it was finished, in its own folder of artifacts


def test_an_estimate_that_fails_leaves_out_the_cost(noted, monkeypatch):
    def fail(*given, **more):
        raise ZeroDivisionError

    monkeypatch.setattr(new_run, "estimate", fail)
    (message,) = noted.warn(stages={"search": "4567"})
    assert "this begins a new run; the last" in message
