import pytest
import torch
from pydantic import ValidationError

from classification.classifier import check_scorer, load_scorer, train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.errors import ArtifactError, ConfigError
from classification.mixing import MixingConfig
from classification.models.weights import save_classifier_weights
from classification.persistence.workspace import Workspace
from classification.training.trainer import to_device

TINY = ClassifierConfig(
    model="resnet8", epochs=6, batch_size=32, learning_rate=0.1, schedule="cosine"
)


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=60))


def train(dataset, config, folder):
    workspace = Workspace(folder)
    model = train_classifier(
        dataset, config, seed=0, device=torch.device("cpu"), workspace=workspace
    )
    return model, workspace.rows()


def test_a_few_epochs_of_dcutmix_tell_three_digits_apart(digits, tmp_path):
    _, rows = train(digits, TINY, tmp_path)
    assert rows[-1]["test_accuracy"] > 0.8
    assert rows[-1]["learning_rate"] < rows[0]["learning_rate"]


def test_mixed_labels_keep_the_training_loss_above_that_of_plain_ones(digits, tmp_path):
    plain = TINY.model_copy(update={"mixing": MixingConfig(kind="none")})
    mixed, unmixed = (train(digits, c, tmp_path / n)[1] for n, c in (("m", TINY), ("p", plain)))
    assert mixed[-1]["loss"] > 2 * unmixed[-1]["loss"]


@pytest.mark.parametrize(
    "settings",
    [
        {"stochastic_depth": 0.5},
        {"drop_block": 0.3, "drop_block_size": 3},
        {"mixing": {"kind": "manifold_mixup"}},
        {"mixing": {"kind": "saliency_dcutmix", "num_images": 3}},
        {"mixing": {"kind": "cutout", "side": 4}},
    ],
    ids=str,
)
def test_what_a_recipe_adds_changes_the_training_and_repeats(digits, tmp_path, settings):
    plain = TINY.model_dump() | {"epochs": 1, "mixing": {"kind": "none"}}
    changed = ClassifierConfig.model_validate(plain | settings)
    runs = [
        train(digits, config, tmp_path / name)[1][0]
        for name, config in (("a", changed), ("b", changed), ("c", ClassifierConfig(**plain)))
    ]
    assert runs[0] == runs[1]
    assert runs[0]["loss"] != runs[2]["loss"]


def test_an_interrupted_training_with_every_regulariser_ends_the_same(digits, tmp_path):
    config = TINY.model_copy(
        update={"epochs": 2, "stochastic_depth": 0.5, "drop_block": 0.2, "drop_block_size": 3}
    )
    whole, _ = train(digits, config, tmp_path / "whole")
    workspace = Workspace(tmp_path / "part")
    stopped = RuntimeError("stop")

    def stop(done, total, unit, **metrics):
        if unit == "epoch":
            raise stopped

    workspace.progress = stop
    with pytest.raises(RuntimeError, match="stop"):
        train_classifier(digits, config, seed=0, device=torch.device("cpu"), workspace=workspace)
    resumed, _ = train(digits, config, tmp_path / "part")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_saved_scorer_loads_to_the_same_logits(digits, tmp_path):
    model, _ = train(digits, TINY.model_copy(update={"epochs": 1}), tmp_path)
    save_classifier_weights(model, tmp_path / "s.safetensors")
    loaded = to_device(load_scorer(TINY.model, 3, tmp_path / "s.safetensors"), torch.device("cpu"))
    images = digits.normalization(digits.test.images)
    assert torch.equal(model.eval()(images), loaded.eval()(images))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "vgg16"}, "unknown classifier; allowed: resnet8"),
        ({"milestones": (0.9, 0.75)}, "must ascend"),
        ({"milestones": (0.5, 1.5)}, "between 0 and 1"),
        ({"stochastic_depth": 1.0}, "less than 1"),
        ({"drop_block_size": 4}, "must be odd"),
        ({"cuda_graph": "on", "mixing": {"kind": "puzzlemix"}}, "waits for the CPU"),
    ],
)
def test_settings_out_of_range_are_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected):
        ClassifierConfig(**settings)


def test_a_batch_larger_than_the_training_images_is_refused(digits):
    with pytest.raises(ConfigError, match=r"scorer\.batch_size: 512 exceeds the 180"):
        check_scorer(TINY.model_copy(update={"batch_size": 512}), digits)


def test_weights_of_other_classes_are_refused_before_anything_starts(digits, tmp_path):
    model, _ = train(digits, TINY.model_copy(update={"epochs": 1}), tmp_path)
    save_classifier_weights(model, tmp_path / "s.safetensors")
    others = load_dataset(DataConfig(kind="digits", classes=4, images_per_class=10))
    with pytest.raises(ArtifactError, match="3 classes"):
        check_scorer(TINY.model_copy(update={"weights": tmp_path / "s.safetensors"}), others)
