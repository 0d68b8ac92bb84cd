"""A run with nothing to do reads no images and draws no report; any change makes it look again."""

import json
import os
from pathlib import Path

import pytest

from classification.data import datasets, source
from classification.data.config import DataConfig
from pipeline.config import load_config
from pipeline.reports import record
from pipeline.run_folder import RunFolder
from pipeline.store.store import Store
from run_pipeline import main
from tests.tiny import TINY, Place

CONFIG = f"{TINY}goal: classifier\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("unchanged"), CONFIG)
    assert place.run("scorer.epochs=1") == 0
    return place


def found(place):
    config = load_config(place.config, ["scorer.epochs=1"], "tiny")
    folder = RunFolder(place.folder / "runs" / "tiny")
    return record.unchanged_run(folder, config, Store(place.folder / "artifacts"))


def test_a_run_with_nothing_to_do_reads_no_images_and_draws_nothing(place, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("images were read"))
    monkeypatch.setattr("pipeline.reports.run._write", lambda *_: pytest.fail("it was drawn"))
    assert place.run("scorer.epochs=1", options=["--json"]) == 0
    shown = capsys.readouterr()
    assert "scorer   reused" in shown.err
    printed, written = json.loads(shown.out), json.loads(place.read("tiny/report/results.json"))
    del written["checksum"]
    assert printed["results"] == written
    assert Path(printed["stages"]["scorer"]) == place.artifact("scorer", "tiny")


def test_a_report_that_a_person_asks_for_is_drawn_again(place, monkeypatch):
    drawn = []
    monkeypatch.setattr("pipeline.reports.run._write", lambda *_: drawn.append(1))
    assert main(["report", "tiny", "--runs", str(place.folder / "runs"), "--quiet"]) == 0
    assert drawn == [1]


@pytest.mark.parametrize(
    "changed", ["runs/tiny/report/report.html", "runs/tiny/config.yaml", "artifacts/ledger.jsonl"]
)
def test_a_changed_file_makes_the_run_look_again(place, changed):
    path = place.folder / changed
    before = path.read_bytes()
    assert found(place) is not None
    path.write_bytes(before + b"\n")
    assert found(place) is None
    path.write_bytes(before)
    assert found(place) is not None


def test_a_damaged_artifact_and_other_code_make_the_run_look_again(place, monkeypatch):
    weights = place.artifact("scorer", "tiny") / "scorer.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert found(place) is None
    weights.write_bytes(before)
    assert found(place).keys() == {"scorer"}
    monkeypatch.setattr(record, "_code", lambda: "other code")
    assert found(place) is None


def test_a_source_changes_with_any_file_and_is_unknown_while_files_change(tmp_path):
    config = DataConfig(kind="folder", root=tmp_path, image_size=8)
    path = tmp_path / "train" / "a" / "1.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one")
    assert source.source_of(config) is None  # written just now
    os.utime(path, (1, 1))
    first = source.source_of(config)
    assert first is not None
    assert first == source.source_of(config)
    path.write_bytes(b"two")
    os.utime(path, (2, 2))
    second = source.source_of(config)
    assert second not in (None, first)
    (tmp_path / "train" / "a" / "2.png").symlink_to(path)
    assert source.source_of(config) is None  # its target may change
    (tmp_path / "train" / "a" / "2.png").unlink()
    assert source.source_of(config) == second
    assert source.source_of(config.model_copy(update={"image_size": 16})) != second
    assert source.source_of(config.model_copy(update={"storage": "files"})) is None
