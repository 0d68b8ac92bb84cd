"""Checkpoints from strangers: nothing in them runs, and none takes the memory it claims."""

import json
import os
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from classification.errors import ArtifactError
from classification.models import build_classifier
from classification.models.weights import load_classifier_weights, save_classifier_weights
from run_pipeline import main

GIB = 1 << 30
PROTOCOL, STOP = b"\x80\x02", b"."


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def torch_zip(path, pickled, deflated=()):
    """A checkpoint in torch's form around `pickled`; `deflated` names records full of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if pickled is not None:
            archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, mebibytes in dict(deflated).items():
            with archive.open(f"archive/{name}", "w") as record:
                for _ in range(mebibytes):
                    record.write(bytes(1 << 20))
    return path


def long_integer(value):
    return b"\x8a\x08" + value.to_bytes(8, "little")


def safetensors(path, header, length=None, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def refused(path):
    """The message of a checkpoint that is refused, having taken little memory."""
    model, before = build_classifier("resnet8", 10), peak_bytes()
    with pytest.raises(ArtifactError) as caught:
        load_classifier_weights(model, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 500
    assert peak_bytes() - before < GIB / 2
    return message


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_bomb_as_a_scorer_is_refused_before_anything_starts(tmp_path, capsys, zipped):
    bomb, ran = tmp_path / "scorer.pt", tmp_path / "ran"
    torch.save(
        {"net": {}, "x": Bomb(ran)}, bomb, _use_new_zipfile_serialization=zipped, pickle_protocol=2
    )
    (tmp_path / "x.yaml").write_text("data: {kind: digits, classes: 3}\nscorer: {model: resnet8}\n")
    places = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    assert main(["run", str(tmp_path / "x.yaml"), "--set", f"scorer.weights={bomb}", *places]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {bomb}: not tensors alone")
    assert message.count("\n") == 1
    assert not ran.exists()
    assert not (tmp_path / "artifacts").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["builtins\neval", "posix\nsystem", "subprocess\nPopen"])
def test_a_bare_call_in_a_pickle_is_refused(tmp_path, name):
    call = b"c" + name.encode() + b"\nX\x04\x00\x00\x00true\x85R"
    assert "run code" in refused(torch_zip(tmp_path / "x.pt", PROTOCOL + call + STOP))
    (tmp_path / "plain.pkl").write_bytes(PROTOCOL + call + STOP)
    refused(tmp_path / "plain.pkl")


def test_compressed_zeros_are_not_unpacked(tmp_path):
    path = torch_zip(tmp_path / "x.pt", None, {"data.pkl": 600})
    assert path.stat().st_size < 1 << 23  # of the 600 MiB that it claims
    assert "memory" in refused(path)


@pytest.mark.parametrize(
    "call",
    [
        b"ctorch\nFloatTensor\n" + long_integer(10**11) + b"\x85R",
        b"cbuiltins\nbytearray\n" + long_integer(10**11) + b"\x85R",
    ],
    ids=["tensor", "bytearray"],
)
def test_a_claim_of_hundreds_of_gigabytes_is_refused(tmp_path, call):
    refused(torch_zip(tmp_path / "x.pt", PROTOCOL + b"}X\x01\x00\x00\x00a" + call + b"s" + STOP))


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in records if name.endswith("data.pkl"))
    # The only tuple of one small number is the shape.
    records[pickled] = records[pickled].replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85")
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    refused(tmp_path / "y.pt")


@pytest.mark.long
def test_a_list_that_doubles_forty_times_is_refused(tmp_path):
    """What is called is no function but a list, which the refusal would spell out."""
    nested = b"]q\x00" + b"".join(
        b"]q" + bytes([level + 1]) + b"(" + 2 * (b"h" + bytes([level])) + b"e"
        for level in range(40)
    )
    refused(torch_zip(tmp_path / "x.pt", PROTOCOL + nested + b")R" + STOP))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 10**8])
def test_a_header_that_claims_too_much_is_refused(tmp_path, length):
    assert f"a header of {length:,} bytes" in refused(safetensors(tmp_path / "x", b"{}", length))


@pytest.mark.parametrize(
    ("shape", "offsets", "data"),
    [
        ([2**31, 2**31, 2**31], [0, 16], 16),
        ([10**12], [0, 4 * 10**12], 16),
        ([4], [0, 4], 16),
        ([4], [16, 0], 16),
        ([-4], [0, 16], 16),
        ([0.5], [0, 16], 16),
        ([4], [0, 2**64], 16),
    ],
)
def test_shapes_and_offsets_that_lie_are_refused(tmp_path, shape, offsets, data):
    header = {"conv1.weight": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}
    refused(safetensors(tmp_path / "x", header, data=bytes(data)))


def test_tensors_that_overlap_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    refused(safetensors(tmp_path / "x", {"a": entry, "b": entry}, data=bytes(16)))


def test_a_header_nested_without_end_is_refused(tmp_path):
    refused(safetensors(tmp_path / "x", b'{"a":' * 10**5))


def test_a_file_of_terabytes_is_refused(tmp_path):
    """Sparse on the disk, and what it says of itself is true."""
    size = 1 << 40
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    path = safetensors(tmp_path / "x", {"a": entry})
    os.truncate(path, path.stat().st_size + size)
    refused(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    assert "no such file" in refused(path)


def test_an_honest_checkpoint_still_loads(tmp_path):
    model = build_classifier("resnet8", 10)
    save_classifier_weights(model, tmp_path / "x.safetensors")
    torch.save({"net": model.state_dict()}, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        other = build_classifier("resnet8", 10)
        load_classifier_weights(other, tmp_path / name)
        assert torch.equal(other.state_dict()["conv1.weight"], model.state_dict()["conv1.weight"])
