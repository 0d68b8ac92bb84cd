"""Runs that are not finished: the line that resumes them, the warning of a new one, the report."""

from dataclasses import replace

import pytest

from pipeline.commands import run as run_command
from pipeline.stages import STAGES
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
    for part in ("- scorer", "reliability of the ranking", "36 images by cv", "missing: retrain"):
        assert part in shown
    assert "run_pipeline.py run " in shown
    assert "--name tiny" in shown
    assert "missing: retrain" in place.read("tiny/report/unfinished.md")


def test_ctrl_c_names_the_runs_own_config(place, capsys, monkeypatch):
    def stop(context):
        raise KeyboardInterrupt

    monkeypatch.setitem(STAGES, "retrain", replace(STAGES["retrain"], run=stop))
    assert place.run() == 130
    line = capsys.readouterr().err.splitlines()[-1]
    config = place.folder / "runs" / "tiny" / "config.yaml"
    assert f"resume with: python run_pipeline.py run {config} --name tiny --device cpu" in line
    assert "--set" not in line


def test_a_run_without_the_settings_of_the_last_one_warns_that_it_is_new(
    place, capsys, monkeypatch
):
    monkeypatch.setattr(run_command, "_SECONDS", 0.2)
    assert place.run("seed=1", options=["--until", "subset"]) == 0
    shown = capsys.readouterr().out
    assert "this begins a new run of about" in shown
    assert f"run {place.folder / 'runs' / '.history' / 'tiny-1' / 'config.yaml'}" in shown
