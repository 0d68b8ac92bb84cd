"""Images, settings, code and clocks that change between runs, or under one."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image

from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
from pipeline.changes import changed_settings
from pipeline.config import PipelineConfig
from pipeline.graph import fingerprints
from pipeline.stages import STAGES
from pipeline.store import ledger, stopwatch
from pipeline.store.ledger import Attempt, Ledger
from pipeline.store.stopwatch import Stopwatch
from run_pipeline import main
from tests.pipeline.command_process import CommandProcess

CONFIG = """
name: own
goal: classifier
data:   {{kind: folder, root: {root}}}
scorer: {{model: resnet8, epochs: {epochs}, batch_size: 4, mixing: {{kind: none}}}}
"""
UNCHANGED = "scorer   reuse"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on images of a folder that has ended."""
    folder = tmp_path_factory.mktemp("finished")
    make_images(folder / "images")
    (folder / "own.yaml").write_text(CONFIG.format(root=folder / "images", epochs=1))
    assert main(run(folder)) == 0
    return folder


@pytest.fixture
def images(finished):
    """The folder's images, which are as before after the test."""
    yield finished / "images"
    shutil.rmtree(finished / "images")
    make_images(finished / "images")


def make_images(root):
    for split in ("train", "val"):
        for value, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            for index in range(4):
                image = Image.new("RGB", (8, 8), (200 * value, 30 * index, 60))
                image.save(root / split / name / f"{index}.png", compress_level=0)


def run(folder, *more):
    places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    return ["run", str(folder / "own.yaml"), "--device", "cpu", *places, *more]


def planned(folder, capsys, *more):
    capsys.readouterr()
    assert main(run(folder, "--dry-run", *more)) == 0
    return capsys.readouterr().out


def edit_in_place(root):
    """Other pixels, with the file's size and times as they were."""
    path = root / "train" / "ant" / "0.png"
    before = path.stat()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def add(root):
    Image.new("RGB", (8, 8)).save(root / "train" / "ant" / "9.png")


def remove(root):
    (root / "train" / "ant" / "3.png").unlink()


def relabel(root):
    (root / "train" / "ant" / "3.png").rename(root / "train" / "bee" / "7.png")


@pytest.mark.parametrize("change", [edit_in_place, add, remove, relabel])
def test_images_that_changed_are_found_and_what_was_made_of_them_is_made_anew(
    finished, images, capsys, change
):
    assert UNCHANGED in planned(finished, capsys)
    change(images)
    shown = planned(finished, capsys)
    assert "since the last run of this name: the images or the code, not the settings" in shown
    assert "(the images of data changed)" in shown
    assert UNCHANGED not in shown
    assert main(["report", "own", "--runs", str(finished / "runs")]) == 2
    assert "data: the images differ from those of scorer" in capsys.readouterr().err


def test_images_brought_back_are_known_again(finished, images, capsys):
    remove(images)
    assert UNCHANGED not in planned(finished, capsys)
    shutil.rmtree(images)
    make_images(images)
    assert UNCHANGED in planned(finished, capsys)


def test_images_edited_under_a_run_count_from_the_next_run_on(tmp_path, capsys):
    """A run reads its images once; what it made is known by what it read."""
    make_images(tmp_path / "images")
    (tmp_path / "own.yaml").write_text(CONFIG.format(root=tmp_path / "images", epochs=20))
    first = CommandProcess(tmp_path, *run(tmp_path), stop_at="scorer   epoch 1/20")
    first.wait_until_stopped()
    edit_in_place(tmp_path / "images")
    first.send("SIGCONT")
    assert first.end() == 0
    assert UNCHANGED not in planned(tmp_path, capsys)
    shutil.rmtree(tmp_path / "images")
    make_images(tmp_path / "images")
    assert UNCHANGED in planned(tmp_path, capsys)


def test_images_left_in_files_are_known_by_name_size_and_label_alone(tmp_path):
    """What is promised of them is less: every byte of ImageNet is not read for a name."""
    root = tmp_path / "images"
    make_images(root)
    config = DataConfig(kind="folder", root=root, image_size=8, storage="files", workers=0)
    before = load_dataset(config).content_hash
    edit_in_place(root)
    assert load_dataset(config).content_hash == before
    Image.new("RGB", (9, 9)).save(root / "train" / "ant" / "0.png", compress_level=0)
    assert load_dataset(config).content_hash != before


def test_settings_that_changed_are_named_with_both_values():
    before = {"search": {"epochs": 50, "cells": 8}, "seed": 0}
    after = {"search": {"epochs": 60, "cells": 8, "precision": "bf16"}, "seed": 0}
    expected = 'search.epochs 50 → 60, search.precision not set → "bf16"'
    assert changed_settings(before, after) == expected
    many = changed_settings({}, {str(key): key for key in range(9)})
    assert many.endswith(", 5 not set → 5, 3 more")


def test_a_rerun_under_the_same_name_says_what_is_made_anew_and_why(finished, capsys):
    shown = planned(finished, capsys, "--set", "scorer.batch_size=2", "--set", "seed=3")
    assert "changed since the last run of this name: seed 0 → 3, scorer.batch_size 4 → 2" in shown
    assert "(scorer.batch_size 4 → 2, seed 0 → 3)" in shown


def test_an_artifact_of_other_code_is_not_used(finished, capsys, monkeypatch):
    stage = STAGES["scorer"]
    newer = replace(stage, version=99)
    monkeypatch.setitem(STAGES, "scorer", newer)
    shown = planned(finished, capsys)
    assert f"the code of scorer is version 99, was {stage.version}" in shown
    assert UNCHANGED not in shown


@pytest.mark.parametrize(
    ("name", "goal", "before"),
    [("retrain", "network", 4), ("contest", "network", 3), ("ranking", "ranking", 2)],
)
def test_networks_trained_before_the_fast_gradients_are_not_those_of_this_code(name, goal, before):
    config = PipelineConfig.model_validate(
        {"name": "n", "goal": goal, "data": {"kind": "digits"}, "contest": {}}
    )
    content = {"data": "images", "target": "images"}
    older = STAGES | {name: replace(STAGES[name], version=before)}
    assert fingerprints(older, config, content)[name] != fingerprints(STAGES, config, content)[name]


def test_an_artifact_in_a_later_format_is_neither_used_nor_replaced(finished, capsys):
    (manifest,) = (finished / "artifacts" / "scorer").glob("*/artifact.json")
    before = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(before), "format": 2}))
    try:
        assert main(run(finished)) == 2
        assert "made by another version of this program (format 2" in capsys.readouterr().err
        assert json.loads(manifest.read_text())["format"] == 2
    finally:
        manifest.write_text(before)


def test_attempts_and_reports_name_the_versions_they_ran_under(finished):
    lines = (finished / "artifacts" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["software"].startswith(f"torch {torch.__version__}")
    report = (finished / "runs" / "own" / "report" / "report.md").read_text()
    assert f"| software | torch {torch.__version__}" in report


def test_a_ledger_of_a_later_version_is_read_for_what_is_known_here(tmp_path):
    attempt = Attempt("search", "abc", "run", "2026-01-01", 1.0, "cpu", "cpu", 1, "done")
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(attempt)
    path.write_text(path.read_text().replace('{"stage"', '{"energy_joules": 5, "stage"'))
    assert Ledger(path).attempts() == [attempt]


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_jumps_changes_no_cost(tmp_path, monkeypatch, years):
    """Seconds come from the monotonic clock; the calendar's is a label."""
    year = [2026]

    class Calendar(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(year[0], 5, 1, tzinfo=tz)

    readings = iter([100.0])
    monkeypatch.setattr(ledger, "datetime", Calendar)
    monkeypatch.setattr(stopwatch, "_CLOCK_SECONDS", 3600)
    monkeypatch.setattr(stopwatch.time, "time", lambda: year[0] * 3e7)
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: next(readings, 103.5))
    book = Ledger(tmp_path / "ledger.jsonl")
    started = ledger.start_time()
    attempt = Attempt("search", "abc", "run", started, 0.0, "cpu", "cpu", 1, "killed")
    watch = Stopwatch(book, tmp_path / "work", attempt)
    year[0] += years
    watch.finish("done")
    (booked,) = book.attempts()
    assert booked.seconds == 3.5
    assert booked.started == datetime(2026, 5, 1, tzinfo=UTC).isoformat(timespec="milliseconds")
