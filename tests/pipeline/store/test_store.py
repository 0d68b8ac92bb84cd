import json
import os
import shutil

import pytest

from classification.errors import ArtifactError
from pipeline.store.checksum import add_checksum, read_verified
from pipeline.store.ledger import Attempt
from pipeline.store.stopwatch import Stopwatch
from pipeline.store.store import MANIFEST, Store, file_digest, fingerprint

ATTEMPT = Attempt("search", "key", "run", "2026-01-01", 0.0, "cpu", "cpu", 1, "killed")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def make(store, content="genotype"):
    work = store.workspace("search", "key")
    (work / "inner").mkdir(parents=True)
    (work / "result.json").write_text(content)
    (work / "inner" / "rows.jsonl").write_text("{}")
    (work / "checkpoint-000001.safetensors").write_text("scaffolding")
    with store.lock("search", "key"):
        return store.publish("search", "key", {"version": 1, "inputs": {}})


def test_fingerprints_ignore_the_order_of_keys_and_heed_values():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})


def test_a_published_artifact_is_found_whole_and_without_scaffolding(store):
    assert store.find("search", "key") is None
    published = make(store)
    found = store.find("search", "key")
    assert found == published
    assert set(found.manifest["files"]) == {"result.json", "inner/rows.jsonl"}
    assert not list(found.path.glob("checkpoint-*"))
    assert not store.workspace("search", "key").exists()


def test_an_unfinished_workspace_is_not_an_artifact(store):
    store.workspace("search", "key").mkdir(parents=True)
    (store.workspace("search", "key") / "result.json").write_text("half")
    assert store.find("search", "key") is None


def test_publishing_again_replaces(store):
    make(store)
    make(store, "another")
    assert (store.find("search", "key").path / "result.json").read_text() == "another"


def test_equal_files_have_equal_digests(store, tmp_path):
    first = make(store)
    assert make(store).digest == first.digest
    assert make(store, "another").digest != first.digest


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "directory", "manifest"])
def test_damage_is_found_and_named(store, damage):
    file = make(store).path / "result.json"
    if damage == "flip":
        file.write_text("genotypf")
    elif damage == "truncate":
        file.write_text("")
    elif damage == "manifest":
        (file.parent / "artifact.json").write_text("[]")
    else:
        file.unlink()
        if damage == "directory":
            file.mkdir()
    with pytest.raises(ArtifactError, match="damaged"):
        store.find("search", "key")


def test_a_lock_is_seen_by_others(store):
    assert not store.is_locked("search", "key")
    with store.lock("search", "key"):
        assert Store(store.root).is_locked("search", "key")
    assert not store.is_locked("search", "key")


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="--artifacts"):
        Store(tmp_path / "file").lock("search", "key")
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("booked", [False, True])
def test_who_finds_an_artifact_does_what_its_maker_was_killed_before(store, booked):
    path = make(store).path
    attempt = Stopwatch(store.ledger, path, ATTEMPT).stop("done")
    (path / "checkpoint-000001.safetensors").write_text("scaffolding")
    if booked:  # but the record not yet dropped
        store.ledger.append(attempt)
    store.find("search", "key")
    assert store.ledger.attempts() == [attempt]
    assert {file.name for file in path.iterdir()} == {"artifact.json", "inner", "result.json"}


@pytest.mark.parametrize("name", ["/etc/hostname", "../other", "inner/../../other"])
def test_an_artifact_that_names_files_of_others_is_damaged(store, tmp_path, name):
    path = make(store).path
    (path.parent / "other").write_text("another's")
    record = read_verified(path / MANIFEST)
    record["files"] = {name: file_digest(path / name)}
    (path / MANIFEST).write_text(json.dumps(add_checksum(record)))
    with pytest.raises(ArtifactError, match="outside the artifact"):
        store.find("search", "key")


def test_a_pipe_in_the_place_of_an_artifacts_file_is_not_waited_for(store):
    path = make(store).path
    (path / "result.json").unlink()
    os.mkfifo(path / "result.json")
    with pytest.raises(ArtifactError, match=r"result\.json: damaged; not a file"):
        store.find("search", "key")
