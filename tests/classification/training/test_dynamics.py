"""Forgetting events and the area under the margin: by hand, by a pass of a model, after a kill."""

from pathlib import Path

import numpy as np
import pytest
import torch

from classification.classifier import check_scorer, train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import ConfigError
from classification.persistence.workspace import Workspace
from classification.training.dynamics import AUM, FORGETTING, Dynamics

CONFIG = ClassifierConfig(
    model="resnet8", epochs=3, batch_size=20, learning_rate=0.1, record_dynamics=True
)


class StopError(Exception):
    pass


def observed(*epochs: list[tuple[float, float]], labels: list[int]) -> Dynamics:
    """The dynamics of images that had these two logits after each epoch."""
    dynamics = Dynamics(len(labels))
    for logits in epochs:
        dynamics.add(torch.tensor(logits), torch.tensor(labels), 0)
        dynamics.epochs += 1
    return dynamics


def test_events_and_margins_by_hand() -> None:
    right, wrong, tie = (2.0, -1.0), (0.5, 1.0), (1.0, 1.0)
    found = observed(
        [right, right, wrong, wrong],
        [right, wrong, right, wrong],
        [right, right, tie, wrong],
        [right, wrong, right, wrong],
        labels=[0, 0, 0, 0],
    )
    # Always right; forgotten twice; learned late and forgotten once; never learned: of 4 epochs.
    assert found.forgetting().tolist() == [0, 2, 1, 4]
    assert found.area_under_margin().tolist() == pytest.approx([3, 1.25, 1.375, -0.5])


def test_the_margin_is_to_the_highest_other_logit() -> None:
    dynamics = Dynamics(2)
    logits = torch.tensor([[0.0, 5.0, 3.0], [1.0, -2.0, 0.5]])
    dynamics.add(logits, torch.tensor([1, 2]), 0)
    dynamics.epochs = 1
    assert dynamics.area_under_margin().tolist() == [2.0, -0.5]


def test_parts_of_an_epoch_are_filed_from_the_first_image_on() -> None:
    whole, parts = Dynamics(5), Dynamics(5)
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 2, 0, 1])
    for _ in range(6):
        logits = torch.randn(5, 3, generator=generator)
        whole.add(logits, labels, 0)
        parts.add(logits[:2], labels[:2], 0)
        parts.add(logits[2:], labels[2:], 2)
        whole.epochs, parts.epochs = whole.epochs + 1, parts.epochs + 1
    assert torch.equal(whole.forgetting(), parts.forgetting())
    assert torch.equal(whole.area_under_margin(), parts.area_under_margin())
    assert 0 < whole.forgetting().max() <= 6


def test_memory_is_14_bytes_an_image_whatever_the_epochs() -> None:
    dynamics = Dynamics(1000)
    for _ in range(3):
        dynamics.add(torch.randn(1000, 4), torch.zeros(1000).long(), 0)
    tensors = [value for value in dynamics.state().values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.nbytes for tensor in tensors) == 14_000


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=20))


def train(
    data: ImageDataset,
    folder: Path,
    stop_after: int | None = None,
    spent: list[str] | None = None,
    **changes: object,
) -> torch.nn.Module:
    """Train; with `stop_after` up to the second step after that epoch."""
    epochs = 0

    def progress(done: int, total: int, unit: str, **metrics: float) -> None:
        nonlocal epochs
        epochs = done if unit == "epoch" else epochs
        if epochs == stop_after and unit == "step" and done == 2:
            raise StopError

    workspace = Workspace(folder, progress)
    if spent is not None:
        workspace.spent = lambda part, seconds: spent.append(part)
    config = CONFIG.model_copy(update=changes)
    return train_classifier(data, config, seed=0, device=torch.device("cpu"), workspace=workspace)


@pytest.fixture(scope="module")
def trained(digits: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder, spent = tmp_path_factory.mktemp("dynamics"), []
    return train(digits, folder, spent=spent), folder, spent


def test_recording_changes_no_weight_and_its_seconds_are_noted(digits, trained, tmp_path) -> None:
    plain = train(digits, tmp_path, record_dynamics=False)
    for one, other in zip(
        plain.state_dict().values(), trained[0].state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    assert not (tmp_path / AUM).exists()
    assert trained[2] == ["training dynamics"] * 3


def test_the_last_epoch_s_part_of_the_margin_is_that_of_the_trained_model(digits, trained) -> None:
    """Of three epochs the first two are those of a training that was stopped there."""
    model, folder, _ = trained
    margins = np.load(folder / AUM)
    forgotten = np.load(folder / FORGETTING)
    assert margins.shape == forgotten.shape == (60,)
    assert margins.dtype == forgotten.dtype == np.float32
    state = Workspace(folder).resume()[1]["record"]
    with torch.no_grad():
        logits = model.eval()(digits.normalization(digits.train.images))
    correct = logits.argmax(1) == digits.train.labels
    assert torch.equal(state["correct"], correct)
    assert not (forgotten[correct.numpy()] == 3).any()
    assert set(forgotten) <= {0, 1, 3}
    assert np.allclose(margins * 3, state["margins"], atol=1e-5)


@pytest.mark.parametrize("within", [None, 1])
def test_a_killed_training_leaves_the_same_files(digits, trained, tmp_path, within) -> None:
    with pytest.raises(StopError):
        train(digits, tmp_path, stop_after=1, checkpoint_steps=within)
    assert len(list(tmp_path.glob("checkpoint-000001-*"))) == (within is not None)
    train(digits, tmp_path, checkpoint_steps=within)
    for name in (AUM, FORGETTING):
        assert (tmp_path / name).read_bytes() == (trained[1] / name).read_bytes()


def test_what_cannot_be_recorded_is_refused(digits) -> None:
    for settings, message in (
        ({"weights": "x.safetensors"}, "cannot be used with weights"),
        ({"model": "supernet"}, "cannot be used with model: supernet"),
    ):
        with pytest.raises(ValueError, match=message):
            ClassifierConfig(record_dynamics=True, **settings)
    files = load_dataset(DataConfig(kind="digits", classes=2, images_per_class=4))
    object.__setattr__(files, "train", object())
    with pytest.raises(ConfigError, match=r"scorer\.record_dynamics: found true with images in f"):
        check_scorer(CONFIG, files)
