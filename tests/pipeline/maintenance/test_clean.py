"""Cleaning, on artifacts of a few bytes: what goes, what stays, and when nothing is touched."""

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.compilation import CACHE
from pipeline.config import load_config
from pipeline.run_folder import RunFolder
from pipeline.store.ledger import Attempt, Ledger
from pipeline.store.store import Store
from run_pipeline import main

ROOT = Path(__file__).parents[3]
CONFIG = load_config(ROOT / "configs" / "quickstart.yaml")
NEEDED, IDLE, BEGUN, OTHER = (digit * 16 for digit in "abcd")


def attempt(key, seconds=36.0, outcome="done"):
    started = f"2026-01-01T00:00:00.{int(key[0], 16):03}+00:00"
    return Attempt(
        "scorer", key, "gone", started, seconds, "a CPU", "cpu", devices=1, outcome=outcome
    )


def publish(store, key, content="weights"):
    work = store.workspace("scorer", key)
    work.mkdir(parents=True)
    (work / "weights.bin").write_text(content)
    store.ledger.append(attempt(key))
    with store.lock("scorer", key):
        return store.publish("scorer", key, {"version": 1, "inputs": {}})


def refer(folder, name, *keys):
    stages = {f"stage{number}": key for number, key in enumerate(keys)}
    config = CONFIG.model_copy(update={"name": name})
    return RunFolder.record(folder, config, stages, Path("artifacts"), "a CPU")


def clean(folder, *options):
    places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    return main(["clean", *places, *options])


def tree(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def store(tmp_path):
    """One artifact that a run refers to, one that none does, and work that none goes on with."""
    store = Store(tmp_path / "artifacts")
    for key in (NEEDED, IDLE):
        publish(store, key)
    work = store.workspace("scorer", BEGUN)
    work.mkdir()
    (work / "attempt.json").write_text(json.dumps(vars(attempt(BEGUN, outcome="killed"))))
    refer(tmp_path / "runs", "kept", NEEDED)
    return store


def test_what_no_run_refers_to_goes_with_size_and_cost_told_and_the_ledger_stays(
    store, tmp_path, capsys
):
    lines = store.ledger.path.read_text()
    assert clean(tmp_path, "--yes") == 0
    said = capsys.readouterr().out
    assert IDLE in said
    assert "36 CPU-seconds" in said
    assert NEEDED not in said
    assert store.find("scorer", NEEDED) is not None
    assert store.find("scorer", IDLE) is None
    assert sorted(path.name for path in (store.root / "scorer").iterdir()) == [
        f".lock-{NEEDED}",
        NEEDED,
    ]
    assert store.ledger.path.read_text().startswith(lines)
    # What the abandoned attempt cost had not been booked yet.
    assert [each.outcome for each in store.ledger.attempts([BEGUN])] == ["killed"]
    assert clean(tmp_path) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_dry_run_says_the_same_and_removes_nothing(store, tmp_path, capsys):
    before = tree(tmp_path)
    assert clean(tmp_path, "--dry-run") == 0
    assert IDLE in capsys.readouterr().out
    assert tree(tmp_path) == before


def test_without_a_terminal_nothing_goes_unless_it_was_asked_for(store, tmp_path, capsys):
    before = tree(tmp_path)
    assert clean(tmp_path) == 2
    assert "--yes" in capsys.readouterr().err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False)])
def test_a_terminal_is_asked(store, tmp_path, monkeypatch, answer, gone):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, default: answer == "y")
    assert clean(tmp_path) == 0
    assert (store.find("scorer", IDLE) is None) is gone


@pytest.mark.parametrize("damage", ["manifest", "config", "no manifest", "no config", "trials"])
def test_nothing_goes_while_a_run_cannot_say_what_it_needs(store, tmp_path, capsys, damage):
    folder = refer(tmp_path / "runs" / "study" / "trials", "trial", OTHER)
    named = folder.path / ("config.yaml" if "config" in damage else "manifest.json")
    if damage == "trials":
        (tmp_path / "runs" / "study" / "study.json").write_text("{}")
        named = folder.path.parent
        named.rename(tmp_path / "elsewhere")
    elif damage.startswith("no"):
        named.unlink()
    else:
        text = named.read_text()
        named.write_text(text.replace(OTHER, IDLE) if damage == "manifest" else text + " ")
    before = tree(tmp_path)
    assert clean(tmp_path, "--yes") == 2
    message = capsys.readouterr().err
    assert str(named) in message
    assert message.count("\n") == 1
    assert tree(tmp_path) == before


def test_runs_of_another_store_are_no_reason_to_empty_this_one(store, tmp_path, capsys):
    refer(tmp_path / "others", "foreign", OTHER)
    before = tree(tmp_path)
    places = ["--artifacts", str(store.root)]
    for runs in ("others", "nowhere", "artifacts"):
        assert main(["clean", *places, "--runs", str(tmp_path / runs), "--yes"]) == 2
        assert runs in capsys.readouterr().err
        assert tree(tmp_path) == before


def test_a_folder_without_a_ledger_is_no_store(store, tmp_path, capsys):
    store.ledger.path.unlink()
    assert clean(tmp_path, "--yes") == 2
    assert "it has no ledger" in capsys.readouterr().err
    assert store.find("scorer", IDLE) is not None


def test_trials_of_studies_the_history_and_paths_in_configs_are_references(store, tmp_path, capsys):
    publish(store, OTHER)
    refer(tmp_path / "runs" / "study" / "trials", "trial", IDLE)
    refer(tmp_path / "runs" / ".history", "before", BEGUN)
    weights = store.path("scorer", OTHER) / "weights.bin"
    scorer = CONFIG.scorer.model_copy(update={"weights": weights})
    config = CONFIG.model_copy(update={"name": "loads", "scorer": scorer})
    RunFolder.record(tmp_path / "runs", config, {}, Path("artifacts"), "a CPU")
    assert clean(tmp_path, "--yes") == 0
    assert store.workspace("scorer", BEGUN).exists()
    assert all(store.find("scorer", key) for key in (NEEDED, IDLE, OTHER))


def test_runs_behind_links_count_and_a_link_that_leads_nowhere_stops_it(store, tmp_path, capsys):
    refer(tmp_path / "disk" / "study" / "trials", "trial", IDLE)
    link = tmp_path / "runs" / "study"
    link.symlink_to(tmp_path / "disk" / "study")
    (tmp_path / "disk" / "study" / "up").symlink_to(tmp_path / "runs")
    assert clean(tmp_path, "--yes") == 0
    assert store.find("scorer", IDLE) is not None
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    capsys.readouterr()
    assert clean(tmp_path, "--yes") == 2
    assert f"{link}: broken link" in capsys.readouterr().err
    assert store.find("scorer", IDLE) is not None


def test_a_folder_of_runs_that_cannot_be_listed_stops_it(store, tmp_path, monkeypatch, capsys):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "kept":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert clean(tmp_path, "--yes") == 2
    assert f"{tmp_path / 'runs' / 'kept'}: cannot be read" in capsys.readouterr().err


def test_what_is_kept_for_the_history_alone_is_told(store, tmp_path, capsys):
    refer(tmp_path / "runs" / ".history", "before-1", IDLE)
    assert clean(tmp_path, "--dry-run") == 0
    assert "for " + str(tmp_path / "runs" / ".history") in capsys.readouterr().out


def test_what_a_kill_left_goes_whoever_refers_to_it(store, tmp_path):
    artifact = store.path("scorer", NEEDED)
    (artifact / "checkpoint-000001.safetensors").write_text("left")
    (store.root / "scorer" / f".old-{NEEDED}").mkdir()
    work = store.workspace("scorer", NEEDED)
    work.mkdir()
    (work / ".checkpoint-000002.safetensors.77.tmp").write_text("half")
    (work / "checkpoint-000001.safetensors").write_text("to go on from")
    assert clean(tmp_path, "--yes") == 0
    assert sorted(path.name for path in artifact.iterdir()) == ["artifact.json", "weights.bin"]
    assert [path.name for path in work.iterdir()] == ["checkpoint-000001.safetensors"]
    assert not (store.root / "scorer" / f".old-{NEEDED}").exists()


def test_what_is_not_of_this_program_is_left_alone(store, tmp_path):
    (store.root / "scorer" / "notes").mkdir()
    (store.root / "README").write_text("mine")
    assert clean(tmp_path, "--yes") == 0
    assert (store.root / "scorer" / "notes").exists()
    assert (store.root / "README").exists()


KEYS = [f"{number:016x}" for number in range(6)]
SOME = st.sets(st.sampled_from(KEYS))


@settings(max_examples=15, deadline=None)
@given(referred=SOME, held=SOME, begun=SOME)
def test_whatever_is_referred_to_or_held_stays_and_all_else_goes(referred, held, begun):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder / "artifacts")
        for key in KEYS:
            if key in begun:
                store.workspace("scorer", key).mkdir(parents=True)
            else:
                publish(store, key, content=key)
        Ledger(store.root / "ledger.jsonl").append(attempt("e" * 16))
        publish(store, "f" * 16)
        refer(folder / "runs", "run", "f" * 16, *sorted(referred))
        ledger = store.ledger.path.read_bytes()
        locks = [store.lock("scorer", key) for key in sorted(held)]
        try:
            for lock in locks:
                lock.acquire()
            assert clean(folder, "--yes") == 0
        finally:
            for lock in locks:
                lock.release()
        for key in KEYS:
            path = store.workspace("scorer", key) if key in begun else store.path("scorer", key)
            assert path.exists() == (key in referred | held)
            if key not in begun and path.exists():
                assert store.find("scorer", key) is not None
        assert store.ledger.path.read_bytes() == ledger


def test_decoded_images_are_listed_and_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "nas-acceleration" / "pixels-0.bin"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(2000))
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "ledger.jsonl").touch()
    (tmp_path / "runs").mkdir()
    where = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    assert main(["clean", *where, "--dry-run"]) == 0
    assert f"to remove   2.0 kB of decoded images, {kept}" in capsys.readouterr().out
    assert kept.exists()
    assert main(["clean", *where, "--yes"]) == 0
    assert "removed     2.0 kB of decoded images" in capsys.readouterr().out
    assert not kept.exists()


def test_decoded_images_and_what_kills_left_of_them_are_removed_without_a_store(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache" / "nas-acceleration"
    cache.mkdir(parents=True)
    (cache / "pixels-0.bin").write_bytes(bytes(2000))
    (cache / f".pixels-1.bin.{2**40}.tmp").write_bytes(bytes(3000))  # no process has this number
    (cache / f".pixels-2.bin.{os.getpid()}.tmp").write_bytes(bytes(10))  # still being written
    (cache / "index-0.npz").write_bytes(bytes(10))
    assert main(["clean", "--artifacts", "elsewhere", "--yes"]) == 2
    assert "elsewhere: folder not found" in capsys.readouterr().err
    assert main(["clean", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "artifacts: no such folder" in said
    assert "removed     2.0 kB of decoded images" in said
    assert "removed     3.0 kB of decoded images" in said
    assert sorted(path.name for path in cache.iterdir()) == [
        f".pixels-2.bin.{os.getpid()}.tmp",
        "index-0.npz",
    ]
    assert main(["clean", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_compiled_kernels_are_removed_unless_a_stage_of_the_store_runs(store, tmp_path, capsys):
    kernel = store.root / CACHE / "ab" / "kernel.so"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(bytes(3000))
    with store.lock("scorer", BEGUN):
        assert clean(tmp_path, "--yes") == 0
        assert kernel.exists()
    assert "compiled" not in capsys.readouterr().out
    assert clean(tmp_path, "--yes") == 0
    assert "removed     3.0 kB of compiled kernels" in capsys.readouterr().out
    assert not kernel.parents[1].exists()
