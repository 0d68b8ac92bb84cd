"""Sweeps on scanned digits: what is trained, what is reused, what a failure and a stop leave."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from classification import classifier
from classification.errors import InterruptedRunError, PipelineError
from pipeline.commands.sweep import sweep as run_sweep
from pipeline.console import Console
from pipeline.store.ledger import Attempt, Cost, Ledger, start_time
from pipeline.store.store import Store
from pipeline.studies.report import write_study_report
from pipeline.studies.results import collect_trials
from pipeline.studies.study import load_study
from pipeline.studies.sweep import plan
from tests.tiny import TINY

BASE = """\
data: {kind: digits, classes: 3, images_per_class: 20}
scorer: {model: resnet8, epochs: 1, batch_size: 20, learning_rate: 0.1, schedule: one_cycle}
scores: {draws: 4}
probe: {model: resnet8, epochs: 2, batch_size: 6, learning_rate: 0.1, schedule: one_cycle}
"""
STUDY = """\
name: digits
base: base.yaml
seeds: 2
set: {goal: subset}
x: subset.fraction
grid: {subset.fraction: [0.2, 0.4]}
reference: random
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: easy, set: {subset.measure: mean_low}}
  - {name: random, set: {subset.measure: random}}
"""
ROOT = Path(__file__).resolve().parents[3]
SPLITS = ("train", "val")
CELLS = 12  # 3 series, 2 fractions, 2 seeds


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    Path("study.yaml").write_text(STUDY)

    def sweep(overrides=(), jobs=1, runs="runs", dry_run=False):
        store, runs = Path("artifacts"), Path(runs)
        return run_sweep(
            Path("study.yaml"),
            jobs=jobs,
            set_=overrides,
            device="cpu",
            artifacts=store,
            runs=runs,
            dry_run=dry_run,
        )

    return sweep


def attempts(outcome="done"):
    found = Ledger(Path("artifacts/ledger.jsonl")).attempts()
    return Counter(attempt.stage for attempt in found if attempt.outcome == outcome)


def results(runs="runs"):
    return json.loads(Path(runs, "digits/results.json").read_text())


def figure(runs="runs"):
    return Path(runs, "digits/figure.png").read_bytes()


def errors(runs="runs"):
    return [trial["accuracy"] for trial in results(runs)["trials"]]


def test_trials_share_one_scorer_and_one_scoring_pass_a_seed(sweep):
    assert sweep() == 0
    assert attempts() == {"scorer": 2, "scores": 2, "subset": CELLS, "probe": CELLS}


def test_a_finished_study_trains_nothing_again_and_draws_the_same(sweep, monkeypatch, capsys):
    sweep()
    names = ("report.md", "report.html", "results.json", "figure.png")
    written = {name: Path("runs/digits", name).read_bytes() for name in names}
    ledger = Path("artifacts/ledger.jsonl").read_bytes()
    Path("runs/digits/report.html").unlink()
    assert sweep() == 0
    assert Path("artifacts/ledger.jsonl").read_bytes() == ledger
    assert {name: Path("runs/digits", name).read_bytes() for name in names} == written
    drawn = []
    monkeypatch.setattr("pipeline.studies.report.write_study_report", lambda *_: drawn.append(1))
    capsys.readouterr()
    place = {"run": "another", "device": "CPU", "device_kind": "cpu", "devices": 1}
    foreign = Attempt("scorer", "0" * 16, started="", seconds=1.0, outcome="done", **place)
    Ledger(Path("artifacts/ledger.jsonl")).append(foreign)
    assert sweep() == 0
    assert drawn == []  # nothing of this study changed
    assert "report      runs/digits/report.md\n            runs/digits/report.html\n" in (
        capsys.readouterr().out
    )
    Path("runs/digits/figure.png").write_bytes(b"")
    sweep()
    sweep(runs="others")
    assert drawn == [1, 1]


def test_the_page_holds_mean_std_and_n_of_each_setting(sweep):
    sweep()
    first, second, *_ = results()["trials"]
    pair = [trial["accuracy"]["top1_error_last"] for trial in (first, second)]
    setting = results()["settings"][0]
    assert (setting["series"], setting["label"]) == ("high CV", "fraction=0.2")
    assert setting["top1_error"]["n"] == 2
    assert setting["top1_error"]["mean"] == pytest.approx(sum(pair) / 2)
    assert setting["top1_error"]["std"] == pytest.approx(abs(pair[0] - pair[1]) / 2**0.5)
    page = Path("runs/digits/report.md").read_text()
    assert f"| high CV | fraction=0.2 | 2 | {sum(pair) / 2:.2f} ±" in page
    start_up = results()["start_up"]
    assert start_up["attempts"] == 1
    shown = Cost(cpu_hours=start_up["wall_seconds"] * torch.get_num_threads() / 3600)
    assert f"Start-up and loading images before the first stage took {shown}" in page


@pytest.mark.parametrize("stop_at", [("scorer", 1), ("probe", 0), ("probe", 5)])
def test_a_stopped_sweep_goes_on_and_ends_with_the_same_figure(sweep, monkeypatch, stop_at):
    sweep(runs="whole")
    whole, wanted = figure("whole"), errors("whole")
    Path("artifacts").rename("elsewhere")
    stage, number = stop_at
    train, count = classifier.train_classifier, iter(range(100))

    def stopping(*arguments, **options):
        if options["workspace"].directory.parent.name == stage and next(count) == number:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(classifier, "train_classifier", stopping)
        with pytest.raises(InterruptedRunError, match=r"trials .*/12"):
            sweep()
    assert sum(attempts("interrupted").values()) == 1
    assert sweep() == 0
    assert attempts() == {"scorer": 2, "scores": 2, "subset": CELLS, "probe": CELLS}
    assert errors() == wanted
    assert figure() == whole


def test_a_failed_trial_is_reported_and_the_rest_goes_on(sweep, monkeypatch, capsys):
    train, broken = classifier.train_classifier, []

    def failing(dataset, *arguments, **options):
        if len(dataset.train) == 3 * 8 and not broken:
            broken.append(len(dataset.train))
            raise PipelineError("the loss is not finite")
        return train(dataset, *arguments, **options)

    monkeypatch.setattr(classifier, "train_classifier", failing)
    assert sweep() == 1
    assert attempts()["probe"] == CELLS - 1
    assert attempts("failed") == {"probe": 1}
    trial = results()["trials"][2]
    assert trial["error"] == "probe: the loss is not finite"
    assert trial["cost"]["stages"]["probe"] >= 0
    page = Path("runs/digits/report.md").read_text()
    assert "11 of 12 trials are complete" in page
    assert "- high CV, fraction=0.4, seed 0: probe: the loss is not finite (" in page
    assert "failed      high CV, fraction=0.4, seed 0" in capsys.readouterr().out
    assert sweep() == 0  # the next sweep tries it again
    assert "12 of 12 trials are complete" in Path("runs/digits/report.md").read_text()


def test_a_failed_scorer_fails_all_trials_of_its_seed_alone(sweep, monkeypatch):
    train = classifier.train_classifier

    def failing(*arguments, seed, **options):
        if seed == 1 and options["workspace"].directory.parent.name == "scorer":
            raise ZeroDivisionError("a bug")
        return train(*arguments, seed=seed, **options)

    monkeypatch.setattr(classifier, "train_classifier", failing)
    assert sweep() == 1
    failed = [trial for trial in results()["trials"] if trial["error"]]
    assert {(trial["seed"], trial["error"]) for trial in failed} == {
        (1, "scorer: ZeroDivisionError: a bug")
    }
    assert len(failed) == 4  # random needs no scorer


def test_a_damaged_artifact_is_made_again(sweep):
    sweep()
    before = figure()
    next(Path("artifacts/probe").glob("*/probe.json")).write_text("{}")
    assert sweep() == 0
    assert attempts()["probe"] == CELLS + 1
    assert figure() == before


def test_a_dry_run_tells_what_stands_and_makes_nothing(sweep, capsys):
    assert sweep(dry_run=True) == 0
    printed = capsys.readouterr().out
    assert (
        "high CV, fraction=0.2, seed 0: scorer open, scores open, subset open, probe open"
        in printed
    )
    assert "12 trials, 28 stages, 28 to be made" in printed
    assert not Path("artifacts").exists() or not attempts()
    assert not Path("runs").exists()


def test_every_trial_is_a_run_that_status_knows(sweep):
    sweep()
    names = {path.name for path in Path("runs/digits/trials").iterdir()}
    assert len(names) == CELLS
    assert "digits-high-CV-fraction-0.2-0" in names


def test_two_processes_make_what_one_makes(sweep):
    sweep(runs="one")
    Path("artifacts").rename("elsewhere")
    assert sweep(jobs=2, runs="two") == 0
    assert attempts() == {"scorer": 2, "scores": 2, "subset": CELLS, "probe": CELLS}
    assert [trial["config"] for trial in results("two")["trials"]] == [
        trial["config"] for trial in results("one")["trials"]
    ]
    assert all(trial["accuracy"] for trial in results("two")["trials"])
    if torch.get_num_threads() == 1:  # as in each of the two: sums depend on the number of threads
        assert errors("two") == errors("one")
        assert figure("two") == figure("one")


def test_bad_options_are_refused(sweep):
    with pytest.raises(PipelineError, match=r"--jobs: found 0; allowed: 1 to 100"):
        sweep(jobs=0)
    with pytest.raises(PipelineError, match=r"--jobs: found 101; allowed: 1 to 100"):
        sweep(jobs=101)
    with pytest.raises(PipelineError, match=r"probe.batch_size: 1000 exceeds the 12 images"):
        sweep(["probe.batch_size=1000"])
    assert not Path("artifacts").exists()


@pytest.mark.long
@pytest.mark.parametrize(("stop", "everyone"), [(signal.SIGTERM, False), (signal.SIGKILL, True)])
def test_a_killed_sweep_of_two_processes_trains_nothing_twice(sweep, stop, everyone):
    sweep(["probe.epochs=20"], runs="whole")
    whole, wanted = figure("whole"), errors("whole")
    Path("artifacts").rename("elsewhere")
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "sweep", "study.yaml", "--jobs", "2"]
    options = {"start_new_session": True, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--set", "probe.epochs=20", "--device", "cpu"], **options)
    # Not booked alone: a kill between an attempt's line and its artifact has it booked twice.
    while len(list(Path("artifacts/probe").glob("[!.]*/artifact.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    (os.killpg if everyone else os.kill)(process.pid, stop)
    status = process.wait(60)
    assert status == (-signal.SIGKILL if everyone else 130)
    finished = attempts()
    assert finished["probe"] < CELLS
    assert sweep(["probe.epochs=20"]) == 0
    assert attempts() == {"scorer": 2, "scores": 2, "subset": CELLS, "probe": CELLS}
    if torch.get_num_threads() == 1:  # as in each of the two processes
        assert errors() == wanted
        assert figure() == whole


def test_a_scorer_that_is_trained_to_be_attacked_is_no_cost_of_a_random_subset(tmp_path):
    """Its attempts stand in the ledger; the subset, chosen by chance, needed none of them."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study(tmp_path / "study.yaml", ["robustness={}"], 1)
    tasks = plan(study, torch.device("cpu"), tmp_path / "artifacts", Console(io.StringIO()))
    store = Store(tmp_path / "artifacts")
    store.root.mkdir()
    place = {"run": "digits", "device": "CPU", "device_kind": "cpu", "devices": 1}
    for stage, key in {key: None for keys in tasks.of_trial for key in keys}:
        attempt = Attempt(stage, key, started=start_time(), seconds=3600.0, outcome="done", **place)
        store.ledger.append(attempt)
    hours = {
        (trial.trial.series, trial.trial.x): trial.selection.hours
        for trial in collect_trials(study, tasks, store)
    }
    assert hours["high CV", 0.2] == 3  # scorer, scores, subset
    assert hours["random", 0.2] == 1  # subset


def test_the_page_names_the_images_of_the_trials(tmp_path):
    """Nothing is trained for it: a page of no complete trial has the same words."""
    for path in (tmp_path / s / n / f"{i}.png" for s in SPLITS for n in "ab" for i in range(20)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    val = f"{{kind: folder, root: {tmp_path}}}"
    held_out = f"{{kind: folder, root: {tmp_path / 'train'}, hold_out: 0.2}}"
    (tmp_path / "base.yaml").write_text(BASE)

    def page(*images):
        series = [f"  - {{name: s{n}, set: {{data: {d}}}}}\n" for n, d in enumerate(images)]
        head = STUDY.split("reference")[0] + "series:\n"
        (tmp_path / "study.yaml").write_text(head + "".join(series))
        study = load_study(tmp_path / "study.yaml", [], 1)
        tasks = plan(study, torch.device("cpu"), tmp_path / "artifacts", Console(io.StringIO()))
        results = collect_trials(study, tasks, Store(tmp_path / "artifacts"))
        write_study_report(tmp_path / "report", study, results, Cost(), "sweep")
        return (tmp_path / "report/report.md").read_text()

    assert "last epoch on the test images, percent" in page("{kind: digits}")
    assert "last epoch on the val images, percent" in page(val)
    assert "last epoch on the held-out images, percent" in page(held_out)
    assert "last epoch on the evaluated images, percent" in page(val, held_out)


@pytest.mark.long
def test_two_workers_share_the_contestants_of_a_contest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = {"channels": 4, "cells": 3, "epochs": 20, "batch_size": 32}
    contest = {"random": 5, "rounds": 2, "training": training}
    Path("tiny.yaml").write_text(f"{TINY}\ncontest: {json.dumps(contest)}")
    study = (
        "name: shared\nbase: tiny.yaml\nseeds: 1\nseries: [{name: high CV, points: [{seed: 0}]}]\n"
    )
    Path("study.yaml").write_text(study)
    found = []
    for jobs in (1, 2):
        store = Path(f"artifacts-{jobs}")
        assert run_sweep(Path("study.yaml"), jobs=jobs, device="cpu", artifacts=store) == 0
        (contest,) = store.glob("contest/*/contest.json")
        found.append(contest.read_bytes())
        own = [
            each for each in Ledger(store / "ledger.jsonl").attempts() if each.stage == "contest"
        ]
        outcomes = Counter(each.outcome for each in own)
        assert outcomes["done"] == 1
        assert (outcomes["part"] > 0) == (jobs == 2)
    if torch.get_num_threads() == 1:  # as in each worker
        assert found[0] == found[1]
