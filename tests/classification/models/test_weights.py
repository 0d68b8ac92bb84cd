import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from classification.errors import ArtifactError
from classification.models import build_classifier
from classification.models.pyramidnet import PyramidNet
from classification.models.weights import load_classifier_weights, save_classifier_weights


class Marker:
    """Unpickling one leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def _prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.fixture
def scorer() -> nn.Module:
    return build_classifier("resnet8", 10)


def test_saved_weights_come_back_as_plain_safetensors(scorer: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "scorer.safetensors"
    save_classifier_weights(scorer.to(memory_format=torch.channels_last), path)
    loaded = build_classifier("resnet8", 10)
    load_classifier_weights(loaded, path)
    assert _equal(loaded, scorer)
    assert set(load_file(path)) == set(scorer.state_dict())
    assert [entry.name for entry in tmp_path.iterdir()] == ["scorer.safetensors"]


@pytest.mark.parametrize(
    "weight",
    [
        torch.arange(12.0).view(3, 4).t(),
        torch.arange(48.0).view(2, 2, 3, 4).to(memory_format=torch.channels_last),
        torch.arange(24.0).view(4, 6)[:, ::2],
    ],
    ids=["transposed", "channels_last", "every second column"],
)
def test_weights_of_any_strides_are_stored_in_the_order_of_their_indices(
    weight: Tensor, tmp_path: Path
) -> None:
    """Read without the library, by the format's definition: a length, a JSON header, bytes."""
    assert not weight.is_contiguous()
    model = nn.Module()
    model.register_buffer("weight", weight)
    save_classifier_weights(model, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header["weight"]["shape"] == list(weight.shape)
    stored = np.frombuffer(content[8 + length :], "<f4").reshape(weight.shape)
    assert stored.tolist() == weight.tolist()


def test_weights_carry_no_metadata_whose_order_would_change_their_bytes(
    scorer: nn.Module, tmp_path: Path
) -> None:
    save_classifier_weights(scorer, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert file.metadata() is None


@pytest.mark.parametrize("wrapper", [None, "net", "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("zipped", [False, True])
def test_torch_checkpoints_load_in_every_form(
    scorer: nn.Module, tmp_path: Path, wrapper: str | None, prefix: str, zipped: bool
) -> None:
    state: dict[str, Any] = _prefixed(scorer.state_dict(), prefix)
    content = {wrapper: state, "epoch": 300, "acc": 81.5} if wrapper else state
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    loaded = build_classifier("resnet8", 10)
    load_classifier_weights(loaded, tmp_path / "x.pth")
    assert _equal(loaded, scorer)


def test_the_authors_form_of_a_pyramidnet_checkpoint_loads(tmp_path: Path) -> None:
    trained = PyramidNet(11, 6, num_classes=5)
    torch.save({"net": nn.DataParallel(trained).state_dict()}, tmp_path / "x.pth")
    loaded = PyramidNet(11, 6, num_classes=5)
    load_classifier_weights(loaded, tmp_path / "x.pth")
    assert _equal(loaded, trained)


def test_a_checkpoint_without_step_counters_loads(scorer: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in scorer.state_dict().items() if "num_batches_tracked" not in k}
    torch.save(state, tmp_path / "old.pth")
    loaded = build_classifier("resnet8", 10)
    load_classifier_weights(loaded, tmp_path / "old.pth")
    assert _equal(loaded, scorer)


def test_code_in_a_checkpoint_is_refused_and_never_runs(scorer: nn.Module, tmp_path: Path) -> None:
    torch.save({"net": scorer.state_dict(), "x": Marker(tmp_path / "ran")}, tmp_path / "x.pth")
    with pytest.raises(ArtifactError, match=r"x\.pth: not tensors alone.*run code") as caught:
        load_classifier_weights(scorer, tmp_path / "x.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (np.float64(81.5), r"holds a numpy scalar \(numpy\._core\.multiarray\.scalar\)"),
        (np.zeros(3), r"holds a numpy array \(numpy\._core\.multiarray\._reconstruct\)"),
        (Namespace(lr=0.1), r"holds an object of argparse\.Namespace"),
        (nn.Linear(2, 2), r"holds an object of torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_an_object_beside_the_weights_is_named_as_what_it_is(
    scorer: nn.Module, tmp_path: Path, beside: Any, named: str, zipped: bool
) -> None:
    content = {"net": scorer.state_dict(), "best": beside}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtifactError, match=rf"{named}.*torch\.save\(model\.state_dict") as caught:
        load_classifier_weights(scorer, tmp_path / "x.pth")
    assert "damaged" not in str(caught.value)


def test_a_missing_file_is_named(scorer: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.pth: no such file"):
        load_classifier_weights(scorer, tmp_path / "absent.pth")
    with pytest.raises(ArtifactError, match="no such file"):
        load_classifier_weights(scorer, tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_truncated_file_is_named_in_one_line(
    scorer: nn.Module, tmp_path: Path, kind: str, share: float
) -> None:
    path = tmp_path / "scorer"
    if kind == "safetensors":
        save_classifier_weights(scorer, path)
    else:
        torch.save(scorer.state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match="scorer: not ") as caught:
        load_classifier_weights(scorer, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"epoch 1: loss 4.6\n", b"\x80\x02.", b"GIF89a"])
def test_a_file_of_another_kind_is_named(scorer: nn.Module, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.txt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"log\.txt: not "):
        load_classifier_weights(scorer, tmp_path / "log.txt")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"net": {"a": 1}}])
def test_a_checkpoint_without_weights_is_named(
    scorer: nn.Module, tmp_path: Path, content: Any
) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ArtifactError, match=r"x\.pth: holds no state_dict"):
        load_classifier_weights(scorer, tmp_path / "x.pth")


def test_another_number_of_classes_is_said_in_words(scorer: nn.Module, tmp_path: Path) -> None:
    save_classifier_weights(scorer, tmp_path / "x.safetensors")
    with pytest.raises(ArtifactError, match=r"scorer has 10 classes, data has 100$"):
        load_classifier_weights(build_classifier("resnet8", 100), tmp_path / "x.safetensors")


def test_another_architecture_is_described_and_changes_nothing(
    scorer: nn.Module, tmp_path: Path
) -> None:
    save_classifier_weights(build_classifier("resnet20", 10), tmp_path / "x.safetensors")
    before = {name: tensor.clone() for name, tensor in scorer.state_dict().items()}
    with pytest.raises(ArtifactError, match=r"does not fit ResNet: unexpected layer.* more$"):
        load_classifier_weights(scorer, tmp_path / "x.safetensors")
    assert all(torch.equal(before[name], t) for name, t in scorer.state_dict().items())


def test_missing_and_reshaped_tensors_are_named(scorer: nn.Module, tmp_path: Path) -> None:
    state = scorer.state_dict()
    del state["bn1.bias"]
    state["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    torch.save(state, tmp_path / "x.pth")
    message = (
        r"missing bn1\.bias; of another shape conv1\.weight \[16, 1, 3, 3\] for \[16, 3, 3, 3\]"
    )
    with pytest.raises(ArtifactError, match=message):
        load_classifier_weights(scorer, tmp_path / "x.pth")
