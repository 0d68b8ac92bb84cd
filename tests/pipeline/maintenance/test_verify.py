"""Verifying a store, on artifacts of a few bytes."""

from pathlib import Path

import pytest

from classification.persistence.workspace import Workspace
from pipeline.config import load_config
from pipeline.run_folder import RunFolder
from pipeline.store.ledger import Attempt
from pipeline.store.resumption import prepare
from pipeline.store.store import Store
from run_pipeline import main

ROOT = Path(__file__).parents[3]
MADE, BEGUN, LATER = (digit * 16 for digit in "abc")


@pytest.fixture
def store(tmp_path):
    """A run of three stages: one made, one begun, one to be made later."""
    store = Store(tmp_path / "artifacts")
    for stage, key in (("scorer", MADE), ("scores", BEGUN)):
        work = store.workspace(stage, key)
        prepare(work, {}, False, store.ledger, print)
        workspace = Workspace(work)
        for epoch in (1, 2):
            workspace.save(epoch, {"epoch": epoch}, {"epoch": epoch})
        outcome = "done" if key == MADE else "interrupted"
        store.ledger.append(
            Attempt(stage, key, "run", f"at {key}", 36.0, "a CPU", "cpu", 1, outcome, 2, 3, "epoch")
        )
    with store.lock("scorer", MADE):
        store.publish("scorer", MADE, {"version": 1, "inputs": {}})
    config = load_config(ROOT / "configs" / "quickstart.yaml").model_copy(update={"name": "run"})
    stages = {"scorer": MADE, "scores": BEGUN, "subset": LATER}
    RunFolder.record(tmp_path / "runs", config, stages, store.root, "a CPU")
    return store


def verify(folder, *words):
    places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    return main(["verify", *words, *places])


def test_a_store_as_it_should_be_is_told_line_by_line_and_left_as_it_is(store, tmp_path, capsys):
    def tree():
        files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
        return [(path, path.stat().st_mtime_ns, path.read_bytes()) for path in files]

    before = tree()
    assert verify(tmp_path) == 0
    said = capsys.readouterr().out
    assert f"scorer     {MADE}  intact   1 file" in said
    assert f"scores     {BEGUN}  partial  interrupted at epoch 2 of 3" in said
    assert "ledger  intact   2 attempts, 1.2 CPU-minutes" in said
    assert "1 of 3 stages made" in said
    assert "4 checked, 0 damaged" in said
    assert tree() == before


@pytest.mark.parametrize("stage", ["scorer", "scores"])
def test_damage_is_named_and_the_status_is_1(store, tmp_path, capsys, stage):
    folder = store.path(stage, MADE) if stage == "scorer" else store.workspace(stage, BEGUN)
    pattern = "metrics.jsonl" if stage == "scorer" else "checkpoint-000001*"
    (path,) = folder.glob(pattern)
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(tmp_path) == 1
    said = capsys.readouterr().out
    assert str(path) in said
    assert "4 checked, 1 damaged" in said


def test_a_torn_line_of_the_ledger_is_numbered(store, tmp_path, capsys):
    with store.ledger.path.open("ab") as file:
        file.write(b'{"stage": "search", "sec\xff\n')
    assert verify(tmp_path) == 1
    assert "line 3 is invalid" in capsys.readouterr().out


def test_an_artifact_that_was_made_and_is_gone_is_missed_by_its_run(store, tmp_path, capsys):
    store.path("scorer", MADE).rename(tmp_path / "elsewhere")
    assert verify(tmp_path) == 1
    said = capsys.readouterr().out
    assert f"{store.path('scorer', MADE)}: missing" in said
    assert LATER not in said  # was never made


def test_a_run_s_damaged_record_is_named(store, tmp_path, capsys):
    manifest = tmp_path / "runs" / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(LATER, "d" * 16))
    assert verify(tmp_path) == 1
    assert str(manifest) in capsys.readouterr().out


def test_of_a_run_only_what_it_refers_to_is_read(store, tmp_path, capsys):
    other = store.workspace("scorer", LATER)
    other.mkdir()
    (other / "checkpoint-000001.safetensors").write_text("rubbish")
    assert verify(tmp_path, "run") == 0
    assert f"scorer     {LATER}" not in capsys.readouterr().out
    assert verify(tmp_path) == 1


def test_what_a_living_process_makes_is_not_looked_into(store, tmp_path, capsys):
    checkpoint = next(store.workspace("scores", BEGUN).glob("checkpoint-*"))
    checkpoint.write_text("half")
    with store.lock("scores", BEGUN):
        assert verify(tmp_path) == 0
    assert f"{BEGUN}  running" in capsys.readouterr().out


def test_an_artifact_of_another_version_of_the_program_is_no_damage(store, tmp_path, capsys):
    path = store.path("scorer", MADE) / "artifact.json"
    path.write_text('{"format": 2}')
    assert verify(tmp_path) == 0
    assert "made by another version" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["no-such-run"], ["--artifacts", "/nowhere"]])
def test_what_is_not_there_is_refused_in_one_line(store, tmp_path, capsys, words):
    places = ["--artifacts", str(store.root), "--runs", str(tmp_path / "runs")]
    assert main(["verify", *places, *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
