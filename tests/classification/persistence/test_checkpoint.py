import json

import pytest
import torch

from classification.errors import ArtifactError, StorageError
from classification.persistence.checkpoint import load_checkpoint, save_checkpoint
from classification.persistence.storage import write_atomically


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_nested_state_comes_back_equal(tmp_path):
    state = {
        "model": {"weight": torch.randn(3, 2), "steps": torch.tensor(7)},
        "optimizer": {"state": {0: {"momentum": torch.ones(2)}}, "groups": [{"betas": (0.5, 1)}]},
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "turned": torch.arange(6.0).view(2, 3).t(),
        "last": torch.arange(48.0).view(2, 2, 3, 4).to(memory_format=torch.channels_last),
        "note": None,
    }
    save_checkpoint(tmp_path / "c.safetensors", state)
    assert same(load_checkpoint(tmp_path / "c.safetensors"), state)


def test_the_order_of_a_dict_is_not_part_of_a_checkpoint(tmp_path):
    first = {"a": torch.ones(2), "b": torch.zeros(3)}
    for name, state in (("1", first), ("2", dict(reversed(first.items())))):
        save_checkpoint(tmp_path / name, state)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert list(load_checkpoint(tmp_path / "2")) == ["a", "b"]


def test_the_header_of_a_checkpoint_is_sorted_at_every_level(tmp_path):
    """safetensors orders its metadata at random, so that equal states would differ in bytes."""
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"b": torch.ones(2), "a": torch.ones(2, dtype=torch.float64)})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header) == sorted(header)
    assert list(header["__metadata__"]) == ["sha256", "tree"]


def test_an_optimizer_goes_on_from_its_checkpoint_as_if_it_had_not_stopped(tmp_path):
    def run(stop_after):
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = torch.optim.Adam([weight], lr=0.1)
        for step in range(4):
            if step == stop_after:
                state = {"weight": weight.detach(), "optimizer": optimizer.state_dict()}
                save_checkpoint(tmp_path / "c", state)
                state = load_checkpoint(tmp_path / "c")
                weight = torch.nn.Parameter(state["weight"])
                optimizer = torch.optim.Adam([weight], lr=0.1)
                optimizer.load_state_dict(state["optimizer"])
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        return weight

    assert torch.equal(run(stop_after=None), run(stop_after=2))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "directory"])
def test_damage_is_named_not_loaded(tmp_path, damage):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"weight": torch.arange(100.0)})
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "directory":
            path.mkdir()
    with pytest.raises(ArtifactError, match=r"c\.safetensors"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_an_empty_folder_in_a_files_place_gives_way_and_a_full_one_is_named(tmp_path):
    path = tmp_path / "file.json"
    path.mkdir()
    write_atomically(path, "{}")
    assert path.read_text() == "{}"
    path.unlink()
    (path / "inner").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"file\.json: "):
        write_atomically(path, "{}")
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]
