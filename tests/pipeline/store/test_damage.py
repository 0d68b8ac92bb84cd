"""Files that rot, on a tiny run: found by their checksum, named, made again, never used.

Which files there are is asked of the store, so that a stage's new file is damaged too.
"""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from classification.errors import ArtifactError
from classification.persistence.workspace import Workspace
from pipeline.maintenance.inventory import inventory
from pipeline.maintenance.verification import check_entry, check_run
from pipeline.reports.cost_point import read_results
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.ledger import Ledger
from pipeline.store.resumption import damage_of, prepare
from pipeline.store.store import Store
from run_pipeline import main

CONFIG = """
name: tiny
data:     {kind: digits, classes: 2, images_per_class: 16}
scorer:   {model: resnet8, epochs: 1, batch_size: 8, record_losses: true}
scores:   {draws: 2}
subset:   {measure: cv, fraction: 0.5}
search:   {epochs: 1, warmup_epochs: 0, channels: 4, cells: 3, batch_size: 4}
retrain:  {network: cifar, channels: 4, cells: 3, epochs: 1, batch_size: 8}
fidelity: {architectures: 3, training: {channels: 4, cells: 3, epochs: 1, batch_size: 8}}
"""
OF_ONE_RUN = ("scorer", "scores", "subset", "search", "retrain")
# Beside `tiny` those that need its artifacts: together they make every stage.
OTHERS = {
    "probe": ["subset.measure=el2n", "goal=subset"],
    "ranking": ["goal=ranking"],
    "contest": [
        "contest={restarts: 16, random: 1, share_kept: 0.1}",
        "contest.training={channels: 4, cells: 3, epochs: 1, batch_size: 8}",
        "budget={parameters: 1M}",
    ],
    "given": ["genotype=darts_v1"],
    "looked-at": [
        "goal=classifier",
        "robustness={attacks: [fgsm], epsilons: [8/255], images: 8}",
        "landscape={images: 8, batch_size: 8, points: 3, plane_points: 0, eigenvalues: 1}",
    ],
}


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


def directory(path):
    path.unlink()
    path.mkdir()


def full_directory(path):
    directory(path)
    (path / "inner.json").write_text("{}")


def dangle(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


DAMAGES = [truncate, flip, empty, delete, directory, full_directory, dangle]
damages = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


def command(folder, name, *arguments):
    places = ["--runs", str(folder / "runs")]
    if name == "run":
        places += ["--artifacts", str(folder / "artifacts"), "--device", "cpu"]
    return main([name, *arguments, *places])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which the tiny run has ended."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.yaml").write_text(CONFIG)
    assert command(folder, "run", str(folder / "tiny.yaml")) == 0
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """A copy of it, of which anything may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@contextlib.contextmanager
def damaged(path, damage):
    """`path` damaged for the block."""
    content = path.read_bytes()
    damage(path)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def artifacts(store):
    return [entry for entry in inventory(store) if entry.kind == "artifact"]


def every_damaged_file_is_found_and_named(folder, damage):
    store = Store(folder / "artifacts")
    for entry in artifacts(store):
        for path in [path for path in entry.path.rglob("*") if path.is_file()]:
            with damaged(path, damage):
                with pytest.raises(ArtifactError) as raised:
                    store.find(entry.stage, entry.key)
                assert str(path) in str(raised.value)
                finding = check_entry(store, entry)
                assert finding.damaged
                assert str(path) in str(finding)
        assert store.find(entry.stage, entry.key) is not None


@damages
def test_no_damaged_file_of_an_artifact_is_used(made, damage):
    assert {entry.stage for entry in artifacts(Store(made / "artifacts"))} == set(OF_ONE_RUN)
    every_damaged_file_is_found_and_named(made, damage)


@pytest.mark.long
def test_no_damaged_file_of_any_stage_is_used(made, tmp_path):
    pytest.importorskip("art")
    pytest.importorskip("curvlinops")
    folder = tmp_path / "all"
    shutil.copytree(made, folder)
    for name, overrides in OTHERS.items():
        options = [word for each in overrides for word in ("--set", each)]
        assert command(folder, "run", str(folder / "tiny.yaml"), "--name", name, *options) == 0
    assert {entry.stage for entry in artifacts(Store(folder / "artifacts"))} == set(STAGES)
    for damage in DAMAGES:
        every_damaged_file_is_found_and_named(folder, damage)


def test_no_bit_of_what_an_artifact_says_of_itself_changes_unseen(made):
    store = Store(made / "artifacts")
    entry = next(entry for entry in artifacts(store) if entry.stage == "subset")
    whole = store.find(entry.stage, entry.key)
    path = entry.path / "artifact.json"
    content = path.read_bytes()
    try:
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            with contextlib.suppress(ArtifactError):
                found = store.find(entry.stage, entry.key)
                # Only the seal's own name may have changed.
                assert {k: found.manifest[k] for k in whole.manifest} == whole.manifest
    finally:
        path.write_bytes(content)


def test_an_artifact_in_another_ones_place_is_not_taken_for_it(copy):
    store = Store(copy / "artifacts")
    entry = artifacts(store)[0]
    other = store.path(entry.stage, "0" * 16)
    shutil.copytree(entry.path, other)
    with pytest.raises(ArtifactError, match="describes another artifact"):
        store.find(entry.stage, "0" * 16)


def test_a_run_makes_what_is_damaged_again_to_the_byte_and_names_the_files(copy, capsys):
    store, hurt, before = Store(copy / "artifacts"), [], {}
    for entry, damage in zip(artifacts(store), DAMAGES, strict=False):
        files = sorted(path for path in entry.path.rglob("*") if path.is_file())
        before |= {path: path.read_bytes() for path in files}
        hurt.append(next(path for path in files if path.name != "artifact.json"))
        damage(hurt[-1])
    capsys.readouterr()
    assert command(copy, "run", str(copy / "tiny.yaml")) == 0
    said = capsys.readouterr().out
    for path in hurt:
        assert str(path) in said
    assert said.count("is made again") == len(OF_ONE_RUN)
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert not changed


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_stands_in_an_artifacts_place_is_replaced(copy, capsys, kind):
    store = Store(copy / "artifacts")
    entry = next(entry for entry in artifacts(store) if entry.stage == "subset")
    shutil.rmtree(entry.path)
    if kind == "file":
        entry.path.write_text("rubbish")
    else:
        entry.path.symlink_to("nowhere")
    assert command(copy, "run", str(copy / "tiny.yaml")) == 0
    assert str(entry.path) in capsys.readouterr().out
    assert store.find(entry.stage, entry.key) is not None


def begin(work):
    """Three epochs of work, each resumed from the one before as a run does."""
    said = []
    prepare(
        work, {"data": {"content_hash": "images"}}, False, Ledger(work.parent / "l"), said.append
    )
    workspace = Workspace(work, log=said.append)
    first, state = workspace.resume()
    assert state == ({"epoch": first} if first else {})
    for epoch in range(first, 3):
        workspace.save(epoch + 1, {"epoch": epoch + 1}, {"epoch": epoch + 1})
    assert [row["epoch"] for row in workspace.rows()] == [1, 2, 3]
    return first, said


@damages
def test_begun_work_goes_on_from_what_is_whole_and_says_what_is_not(tmp_path, damage):
    work = tmp_path / "work"
    assert begin(work) == (0, [])
    record = {"stage": "search", "fingerprint": "f", "run": "r", "started": "s", "seconds": 1.0}
    record |= {"device": "d", "device_kind": "cpu", "devices": 1, "outcome": "killed"}
    (work / "attempt.json").write_text(json.dumps(record))
    whole = tmp_path / "whole"
    shutil.copytree(work, whole)
    goes_on = {
        ".inputs.json": 0,  # nobody knows what it was begun from
        "checkpoint-000003.safetensors": 2,
        "checkpoint-000002.safetensors": 3,
        "metrics.jsonl": 3,
        "attempt.json": 3,
    }
    assert {path.name for path in whole.iterdir()} == set(goes_on)
    for name, epochs in goes_on.items():
        shutil.rmtree(work)
        shutil.copytree(whole, work)
        damage(work / name)
        listed = list(damage_of(work))
        first, said = begin(work)
        assert first == epochs, name
        in_the_way = damage in (directory, full_directory, dangle)
        silent = name in ("metrics.jsonl", "checkpoint-000002.safetensors")  # not read back
        if damage is delete and name != ".inputs.json":
            continue  # nobody can tell that it was there
        if in_the_way or not silent:
            assert any(name in line for line in said), (name, said)
        if in_the_way or name != "metrics.jsonl":
            assert any(name in line for line in listed), (name, listed)


def test_no_bit_of_a_checkpoint_changes_unseen(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.save(1, {"values": [1.5, 2]}, {"epoch": 1})
    path = tmp_path / "checkpoint-000001.safetensors"
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        step, state = Workspace(tmp_path).resume()
        assert (step, state) in [(0, {}), (1, {"values": [1.5, 2]})]


@damages
@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_a_damaged_record_of_a_run_is_named_and_written_again(copy, name, damage):
    folder = RunFolder(copy / "runs" / "tiny")
    config, manifest = folder.config(), folder.manifest()
    damage(folder.path / name)
    with pytest.raises(ArtifactError, match=name):
        folder.config()
    store = Store(copy / "artifacts")
    assert check_run(folder, store, []).damaged
    RunFolder.record(copy / "runs", config, manifest["stages"], store.root, manifest["device"])
    assert folder.config() == config
    assert folder.manifest()["stages"] == manifest["stages"]


@damages
def test_damaged_results_are_named_and_not_plotted(copy, damage):
    path = copy / "runs" / "tiny" / "report" / "results.json"
    assert read_results(path)["name"] == "tiny"
    damage(path)
    with pytest.raises(ArtifactError, match=r"results\.json"):
        read_results(path)


def test_a_digit_that_changed_in_any_record_is_one_line_and_a_run_writes_it_again(copy, capsys):
    picture = str(copy / "plot.png")
    record, again = copy / "runs" / "tiny", ["run", str(copy / "tiny.yaml")]
    words = {
        "config.yaml": ["report", "tiny"],
        "report/results.json": ["plot", "tiny", "-o", picture],
        "manifest.json": ["status", "tiny"],
    }
    for name, refused in words.items():
        flip(record / name)
        capsys.readouterr()
        assert command(copy, *refused) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert str(record / name) in error
    assert command(copy, *again) == 0
    assert all(command(copy, *each) == 0 for each in words.values())


def test_an_empty_folder_in_a_locks_place_is_removed_and_a_full_one_named(copy, capsys):
    store = Store(copy / "artifacts")
    entry = next(entry for entry in artifacts(store) if entry.stage == "subset")
    lock = entry.path.with_name(f".lock-{entry.key}")
    again = ["run", str(copy / "tiny.yaml"), "--force", "subset"]
    directory(lock)
    assert command(copy, *again) == 0
    full_directory(lock)
    capsys.readouterr()
    assert command(copy, *again) == 2
    assert str(lock) in capsys.readouterr().err
    assert store.find(entry.stage, entry.key) is not None


def test_what_lies_beside_an_artifacts_files_is_told_and_harms_nothing(copy):
    store = Store(copy / "artifacts")
    entry = artifacts(store)[0]
    stranger = Path(entry.path / "notes.txt")
    stranger.write_text("mine")
    assert store.find(entry.stage, entry.key) is not None
    finding = check_entry(store, entry)
    assert not finding.damaged
    assert str(stranger) in str(finding)
