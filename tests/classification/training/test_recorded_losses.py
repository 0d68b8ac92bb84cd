import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from classification.classifier import build_scorer, check_scorer, train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.data.loaders import ImageSet
from classification.errors import ConfigError
from classification.persistence.arrays import open_array
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from classification.training.recorded_losses import (
    TRAINING_ENTROPIES,
    TRAINING_LOSSES,
    TrainingLosses,
    measure,
    rows_in_order,
)
from classification.training.trainer import to_device

FILES = (TRAINING_LOSSES, TRAINING_ENTROPIES)
RECORDING = ClassifierConfig(
    model="resnet8",
    epochs=3,
    batch_size=31,
    learning_rate=0.1,
    label_smoothing=0.1,
    record_losses=True,
)


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def digits():
    """63 images: in batches of 31 one sits out each epoch."""
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=21))


def train(dataset, config, folder, stop_after=None):
    stopped = False

    def progress(done, total, unit, **metrics):
        nonlocal stopped
        if stopped:
            raise StopError
        stopped = unit == "epoch" and done == stop_after

    workspace = Workspace(folder, progress)
    return train_classifier(
        dataset, config, seed=0, device=torch.device("cpu"), workspace=workspace
    )


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def recorded(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    return train(digits, RECORDING, folder), folder


def test_recording_leaves_the_weights_as_they_would_be(digits, recorded, tmp_path):
    plain = train(digits, RECORDING.model_copy(update={"record_losses": False}), tmp_path)
    assert same_weights(plain, recorded[0])
    assert not (tmp_path / TRAINING_LOSSES).exists()


def test_the_record_is_a_column_an_epoch_and_nan_for_who_sat_out(recorded):
    losses, entropies = (np.load(recorded[1] / name) for name in FILES)
    assert losses.shape == entropies.shape == (63, 3)
    assert losses.dtype == entropies.dtype == np.float32
    assert np.isnan(losses).sum(0).tolist() == [1, 1, 1]
    assert np.array_equal(np.isnan(losses), np.isnan(entropies))
    mixed = np.nanmean(entropies)
    assert 0 < mixed < np.log(3)
    assert np.nanmin(losses - entropies) > -1e-5  # a cross-entropy is never below the entropy


def test_a_killed_training_leaves_the_same_record(digits, recorded, tmp_path):
    with pytest.raises(StopError):
        train(digits, RECORDING, tmp_path, stop_after=1)
    model = train(digits, RECORDING, tmp_path)
    assert same_weights(model, recorded[0])
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (recorded[1] / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (TRAINING_LOSSES, "missing"),
        (TRAINING_LOSSES, "cut short"),
        (TRAINING_ENTROPIES, "flipped"),
        (".training_losses.json", "missing"),
        (".training_losses.json", "flipped"),
    ],
)
def test_a_training_whose_record_is_damaged_begins_anew(digits, recorded, tmp_path, name, damage):
    with pytest.raises(StopError):
        train(digits, RECORDING, tmp_path, stop_after=1)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        first = 128 if path.suffix == ".npy" else 6  # the first value of the first epoch
        content[first] ^= 1
        path.write_bytes(content)
    train(digits, RECORDING, tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (recorded[1] / name).read_bytes()


def test_what_was_recorded_after_the_last_checkpoint_may_be_torn(digits, recorded, tmp_path):
    with pytest.raises(StopError):
        train(digits, RECORDING, tmp_path, stop_after=2)
    (tmp_path / "checkpoint-000002.safetensors").unlink()  # killed before it was written
    record = open_array(tmp_path / TRAINING_LOSSES, (63, 3))
    assert record is not None
    record[5:, 1] = 0
    record.flush()
    kept = train(digits, RECORDING, tmp_path, stop_after=None)
    assert same_weights(kept, recorded[0])
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (recorded[1] / name).read_bytes()


def test_unmixed_losses_are_those_of_the_first_forward_pass(digits, tmp_path):
    """One batch, nothing mixed: the losses of the untrained model on the augmented images."""
    config = ClassifierConfig(
        model="resnet8", epochs=1, batch_size=63, mixing={"kind": "none"}, record_losses=True
    )
    train(digits, config, tmp_path)
    order = torch.randperm(63, generator=make_generator(0, "scorer-order", 0))
    generator = make_generator(0, "scorer-augmentation", 0)
    inputs = digits.augmentation()(digits.train.images[order], generator)
    labels = digits.train.labels
    model = to_device(build_scorer(config.model, 3, seed=0), torch.device("cpu")).train()
    with torch.no_grad():
        logits = model(inputs)
    expected = torch.empty(63)
    expected[order] = F.cross_entropy(logits, labels[order], reduction="none")
    losses, entropies = (np.load(tmp_path / name) for name in FILES)
    np.testing.assert_allclose(losses[:, 0], expected.numpy(), rtol=1e-5, atol=1e-6)
    assert not entropies.any()


def test_a_hand_worked_mix():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    losses, entropies = measure(logits, torch.tensor([[0.5, 0.5, 0.0]]))
    assert losses.item() == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(4))
    assert entropies.item() == pytest.approx(np.log(2))


def test_values_are_filed_under_the_rows_of_the_loaders_order(tmp_path):
    """Every image's logit tells its row, so its loss must be found there."""
    images = torch.zeros(7, 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(7)
    loader = ImageSet(images, torch.zeros(7, dtype=torch.long)).loader(
        3, images.device, training=True
    )
    record = TrainingLosses(
        Workspace(tmp_path), 7, 2, lambda epoch: rows_in_order(loader, 5, "scorer", epoch)
    )
    objective = record.watching(F.cross_entropy)
    for epoch in range(2):
        for batch, labels in loader.batches(make_generator(5, "scorer-order", epoch)):
            logits = F.pad(batch[:, 0, 0, :1].float(), (1, 0))
            assert torch.equal(objective(logits, labels), F.cross_entropy(logits, labels))
        record.store(epoch)
    losses = np.load(tmp_path / TRAINING_LOSSES)
    expected = np.log1p(np.exp(np.arange(7)))[:, None].repeat(2, 1)
    sat_out = np.isnan(losses)
    assert sat_out.sum(0).tolist() == [1, 1]
    np.testing.assert_allclose(losses[~sat_out], expected[~sat_out], rtol=1e-5)


def test_an_array_of_another_shape_or_type_does_not_stand(tmp_path):
    path = tmp_path / "x.npy"
    assert open_array(path, (2, 2)) is None
    np.save(path, np.zeros((2, 2)))
    assert open_array(path, (2, 2)) is None  # float64
    np.save(path, np.zeros((2, 3), np.float32))
    assert open_array(path, (2, 2)) is None
    assert open_array(path, (2, 3)) is not None


def test_a_scorer_stopped_early_is_the_first_epochs_of_the_whole(digits, tmp_path):
    config = RECORDING.model_copy(update={"epochs": 4, "schedule": "one_cycle"})
    early = config.model_copy(update={"stop_epoch": 2, "record_losses": False})
    stopped = train(digits, early, tmp_path / "early")
    whole = tmp_path / "whole"
    with pytest.raises(StopError):
        train(digits, config, whole, stop_after=2)
    names = [f"{folder}/metrics.jsonl" for folder in ("early", "whole")]
    assert (tmp_path / names[0]).read_text() == (tmp_path / names[1]).read_text()
    _, state = Workspace(whole).resume()
    for name, value in stopped.state_dict().items():
        assert torch.equal(value, state["model"][name]), name
    shorter = train(digits, config.model_copy(update={"epochs": 2}), tmp_path / "short")
    assert not same_weights(shorter, stopped)  # whose schedule is another


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 5, "stop_epoch": 6}, r"allowed: 1 to epochs \(5\)"),
        ({"stop_epoch": 0}, "greater than 0"),
        ({"record_losses": True, "weights": "x.safetensors"}, "cannot be used with weights"),
        ({"record_losses": True, "cuda_graph": "on"}, "records its losses"),
        ({"model": "supernet", "epochs": 60}, "cannot be used with model: supernet"),
        ({"model": "supernet", "record_losses": True}, "cannot be used with model: supernet"),
        ({"model": "supernet", "weights": "x.safetensors"}, "cannot be used with model: supernet"),
        ({"model": "supernet", "mixing": {"kind": "manifold_mixup"}}, "manifold_mixup cannot"),
    ],
)
def test_what_cannot_be_is_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected):
        ClassifierConfig(**settings)


def test_a_supernets_own_settings_and_all_defaults_pass():
    config = ClassifierConfig(model="supernet", label_smoothing=0.1, mixing={"kind": "mixup"})
    assert ClassifierConfig.model_validate(config.model_dump()) == config
    assert ClassifierConfig(stop_epoch=300).trained_epochs == 300
    assert RECORDING.graph_mode == "off"


def test_images_in_files_cannot_be_recorded(digits):
    class Files:
        image_size = 32

        def __len__(self):
            return 99

    dataset = load_dataset(DataConfig(kind="digits", classes=2, images_per_class=4))
    object.__setattr__(dataset, "train", Files())
    with pytest.raises(ConfigError, match=r"scorer\.record_losses: found true with images in fil"):
        check_scorer(RECORDING, dataset)
