"""Genotypes, subsets, arrays and runs from strangers: sizes, code in strings, wrong kinds"""

import json
import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest

from classification.errors import ArtifactError
from classification.persistence.arrays import read_array
from pcdarts.genotype import Genotype
from pcdarts.published_genotypes import GENOTYPES
from run_pipeline import main
from subsample.selection import Subset

MIB = 1 << 20
CODE = "__import__('os').system('touch ran')"
SUBSET = Subset(
    dataset="digits",
    content_hash="0" * 64,
    measure="random",
    order="deterministic",
    fraction=0.5,
    seed=0,
    scorer=None,
    class_histogram={"a": 1, "b": 1},
    indices=(0, 1),
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(load, path, mebibytes=200):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < mebibytes << 10
    assert not Path("ran").exists()
    return message


def genotype(**changes):
    return json.dumps(GENOTYPES["darts_v1"].to_dict() | changes)


@pytest.mark.parametrize(
    "text",
    [
        genotype(normal=[[[CODE, 0], ["skip_connect", 1]]] * 4),
        genotype(normal=CODE),
        json.dumps(CODE),
        genotype(normal=[[["skip_connect", 1e999], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["skip_connect", float("nan")], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["skip_connect", True], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["skip_connect", -1], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["skip_connect", 10**18], ["skip_connect", 1]]] * 4),
        genotype(normal=[[[["skip_connect"], 0], ["skip_connect", 1]]] * 4),
        genotype(normal=[[[{}, 0], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["none", 0], ["skip_connect", 1]]] * 4),
        genotype(normal=[[["x" * 10_000, 0], ["skip_connect", 1]]] * 4),
        genotype(normal=[[0] * 10_000] * 4),
        genotype(**{f"key{i}": 0 for i in range(2_000)}),
        genotype(normal=10**4000),
        '{"normal": ' + "9" * 5000 + "}",
        "[" * 60_000,
        '{"a":' * 10_000,
        genotype(normal=[[0, 1]] * 10**6),
        "\ufeff" + genotype(),
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe" + genotype().encode("utf-16-le"),
        b"\0" * 100,
        b"",
    ],
    ids=range(24),
)
def test_a_hostile_genotype_is_named(folder, text):
    path = folder / "genotype.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(Genotype.load, path)


@pytest.mark.parametrize("load", [Genotype.load, Subset.load])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse", "absent", "nul"])
def test_what_is_no_file_is_refused_without_waiting(folder, load, kind):
    path = folder / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind == "nul":
        path = folder / "x\0.json"
    refused(load, path)


def subset(**changes):
    values = json.loads(json.dumps(SUBSET.__dict__)) | changes
    return json.dumps({key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        subset(indices=[10**12, 0]),
        subset(indices=[2**31, 0]),
        subset(indices=[-1, 0]),
        subset(indices=[0.5, 1]),
        subset(indices=[True, False]),
        subset(indices=["0", "1"]),
        subset(indices=[0, 0]),
        subset(indices=[]),
        subset(indices=CODE),
        subset(class_histogram={"a": 10**12}),
        subset(class_histogram={CODE: -1}),
        subset(fraction=float("inf")),
        subset(fraction=float("nan")),
        subset(seed=2**63),
        subset(seed=10**4000),
        subset(measure=CODE),
        subset(extra=CODE),
        subset(dataset=["x" * 10_000]),
        '{"indices": ' + "[" * 10**5,
        '{"a":' * 10**5,
        b"\xff",
        b"",
    ],
    ids=range(22),
)
def test_a_hostile_subset_is_named(folder, text):
    path = folder / "subset.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(Subset.load, path)


@pytest.mark.long
def test_the_largest_subset_takes_bounded_memory(folder):
    path = folder / "subset.json"
    path.write_text(subset(indices=[]).replace("[]", "[" + "0," * (1 << 25) + "0]"))
    refused(Subset.load, path, mebibytes=6_000)


def npy(path, shape, dtype="<f4", data=bytes(16)):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
    return path


@pytest.mark.parametrize(
    "shape",
    [
        "(10**12,)",
        "(1000000000000, 10)",
        f"({2**62}, {2**62})",
        "(-1, 4)",
        "(4.5, 1)",
        "4",
        "()",
        CODE,
    ],
)
def test_an_array_whose_shape_lies_is_named(folder, shape):
    refused(lambda path: read_array(path, 2), npy(folder / "losses.npy", shape))


def test_objects_in_an_array_are_not_unpickled(folder):
    path = folder / "losses.npy"

    class Bomb:
        def __reduce__(self):
            return os.system, ("touch ran",)

    np.save(path, np.array([[Bomb()]], dtype=object), allow_pickle=True)
    assert "not a readable array" in refused(lambda path: read_array(path, 2), path)
    np.savez(path.with_suffix(".npz"), np.zeros((2, 2)))
    path.with_suffix(".npz").rename(path)
    refused(lambda path: read_array(path, 2), path)


@pytest.mark.parametrize("dtype", ["<i8", "|S4", "<c8", "|V4", "<M8[s]", "|O", "<f99999999999"])
def test_an_array_of_another_kind_is_named(folder, dtype):
    refused(lambda path: read_array(path, 1), npy(folder / "values.npy", "(2,)", dtype))


RESULTS = {
    "name": "x",
    "subset": {"measure": "cv", "fraction": 0.1},
    "cost": {"search_alone": 1.0, "total": 2.0, "unit": "CPU-hours"},
    "accuracy": {"top1_error_last": 5.0},
    "search_epochs": 5,
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RESULTS | {"cost": []}),
        json.dumps(RESULTS | {"cost": {"search_alone": 1.0, "total": 2.0, "unit": ["x"]}}),
        json.dumps(RESULTS | {"cost": {"search_alone": "1", "total": None}}),
        json.dumps(RESULTS | {"accuracy": None}),
        json.dumps(RESULTS | {"accuracy": {"top1_error_last": [CODE]}}),
        json.dumps(RESULTS | {"accuracy": {"top1_error_last": float("nan")}}),
        json.dumps(RESULTS | {"accuracy": {"top1_error_last": 1e999}}),
        json.dumps(RESULTS | {"subset": {"measure": {}, "fraction": 0.1}}),
        json.dumps(RESULTS | {"subset": {"measure": "cv", "fraction": CODE}}),
        json.dumps(RESULTS | {"goal": {"a": 1}}),
        json.dumps(RESULTS | {"goal": "classifier"}),
        json.dumps([RESULTS]),
        "[" * 10**5,
        "9" * 5000,
        "",
    ],
    ids=range(15),
)
@pytest.mark.parametrize("command", ["plot", "table"])
def test_the_results_of_a_strangers_run_are_refused_in_one_line(folder, capsys, text, command):
    report = folder / "runs" / "x" / "report"
    report.mkdir(parents=True)
    (report.parent / "config.yaml").write_text("data: {kind: digits}\n")
    (report / "results.json").write_text(text)
    arguments = ["plot", "x", "-o", "p.png"] if command == "plot" else ["table", "x"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not Path("p.png").exists()


@pytest.mark.parametrize("command", ["status", "report"])
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"stages": []}',
        '{"stages": {"scorer": 3}, "name": "x", "artifacts": "a"}',
        '{"stages": {"scorer": "k"}, "name": "x", "artifacts": ["a"]}',
        '{"stages": {}, "artifacts": "a"}',
        "[" * 10**5,
    ],
    ids=range(6),
)
def test_the_manifest_of_a_strangers_run_is_refused_in_one_line(folder, capsys, text, command):
    (folder / "runs" / "x").mkdir(parents=True)
    (folder / "runs" / "x" / "config.yaml").write_text("data: {kind: digits}\n")
    (folder / "runs" / "x" / "manifest.json").write_text(text)
    assert main([command, "x"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "manifest.json" in captured.err
