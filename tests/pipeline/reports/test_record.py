"""A run with nothing to do reads no images and draws no report; any change makes it look again."""

import json
from pathlib import Path

import pytest

from classification.data import datasets
from pipeline.config import load_config
from pipeline.graph import fingerprints
from pipeline.reports import record
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.ledger import Attempt
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


@pytest.mark.parametrize("changed", ["runs/tiny/report/report.html", "runs/tiny/config.yaml"])
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


def attempt(key, stage="scorer"):
    return Attempt(stage, key, "another", "2026-01-01", 60.0, "a CPU", "cpu", 1, "done")


def test_costs_that_the_report_shows_make_the_run_look_again_and_no_others(place):
    ledger = Store(place.folder / "artifacts").ledger
    before = ledger.path.read_bytes()
    config = load_config(place.config, ["scorer.epochs=1", "scorer.mixing={kind: none}"], "tiny")
    images = record.read_verified(place.folder / "runs/tiny/report/record.json")["images"]
    twin = fingerprints(STAGES, config, {"data": images["data"]["content_hash"]})["scorer"]
    for key, shown in (
        (twin, True),  # the training without mixing with which the report compares
        (place.artifact("scorer", "tiny").name, True),
        ("0" * 16, False),
    ):
        ledger.append(attempt(key))
        assert (found(place) is None) == shown
        ledger.path.write_bytes(before)
    assert found(place) is not None


def test_the_cost_of_the_full_search_decides_the_report_of_a_network(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    config, store, contents = load_config(path), Store(tmp_path), {"data": "a", "target": "a"}
    folder = RunFolder.record(tmp_path, config, {}, tmp_path, "a CPU")
    full = load_config(path, ["subset={measure: full, fraction: 1}"])
    key = record.report_key(folder, config, contents, {}, store)
    store.ledger.append(attempt(fingerprints(STAGES, config, contents)["search"], "search"))
    assert record.report_key(folder, config, contents, {}, store) == key
    store.ledger.append(attempt(fingerprints(STAGES, full, contents)["search"], "search"))
    assert record.report_key(folder, config, contents, {}, store) != key


@pytest.mark.parametrize(
    ("file", "counts"),
    [("page.py", True), ("templates/page.css", True), ("__pycache__/page.pyc", False)],
)
def test_each_file_that_makes_a_page_is_code(tmp_path, monkeypatch, file, counts):
    monkeypatch.setattr(record, "_ROOT", tmp_path)
    path = tmp_path / "pipeline" / "reports" / file
    path.parent.mkdir(parents=True)
    path.write_text("one")
    before = record._code.__wrapped__()
    path.write_text("two")
    assert (record._code.__wrapped__() != before) == counts
