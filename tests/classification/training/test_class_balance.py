import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from classification.classifier import train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.mixing import MixingConfig
from classification.persistence.workspace import Workspace
from classification.settings import effective_settings
from classification.training.class_balance import (
    class_weights,
    cross_entropy,
    describe_balance,
)
from classification.training.step import part_of_mean
from evaluate.retrain_config import RetrainConfig

CPU = torch.device("cpu")
LOGITS = torch.tensor([0.5, 0.25, 0.25]).log()  # losses ln 2, 2 ln 2 and 2 ln 2
WEIGHTS = torch.tensor([2.0, 0.5, 3.0])


def weights_of(kind, *counts, beta=0.999):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return class_weights(kind, beta, labels, len(counts), CPU).tolist()


def loss(logits, targets, weights=WEIGHTS, label_smoothing=0.0):
    return cross_entropy(logits, targets, weights=weights, label_smoothing=label_smoothing)


def test_inverse_weights_by_hand_and_as_scikit_learn_balances():
    """10 images of 2 classes: 10 / (2 · 8) and 10 / (2 · 2)."""
    assert weights_of("inverse", 8, 2) == pytest.approx([0.625, 2.5])
    labels = [0] * 50 + [1] * 20 + [2] * 7
    balanced = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert weights_of("inverse", 50, 20, 7) == pytest.approx(balanced)


def test_effective_weights_by_hand():
    """β = 1/2: of 1, 2 and 3 images the effective numbers E are 1, 3/2 and 7/4; Σ n / E = 85/21."""
    expected = [126 / 85, 84 / 85, 72 / 85]
    assert weights_of("effective", 1, 2, 3, beta=0.5) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["inverse", "effective"])
def test_the_mean_weight_of_the_images_is_one_and_a_class_without_images_has_none(kind):
    weights = weights_of(kind, 300, 0, 10)
    assert weights[1] == 0
    assert (300 * weights[0] + 10 * weights[2]) / 310 == pytest.approx(1)


def test_beta_leads_from_equal_weights_to_inverse_ones():
    counts = (300, 30, 10)
    assert weights_of("effective", *counts, beta=0.0) == pytest.approx([1, 1, 1])
    inverse = weights_of("inverse", *counts)
    assert weights_of("effective", *counts, beta=1 - 1e-9) == pytest.approx(inverse, rel=1e-4)


def test_the_loss_of_labels_is_divided_by_the_images():
    """Labels 0 and 1: (2 · ln 2 + 1/2 · 2 ln 2) / 2. Torch's mean would divide by 2 + 1/2."""
    found = loss(LOGITS.expand(2, 3), torch.tensor([0, 1]))
    assert found.item() == pytest.approx(1.5 * math.log(2))


def test_a_mixed_image_has_the_weighted_losses_of_its_parts():
    """6/10 of class 0, 4/10 of class 1: 0.6 · 2 · ln 2 + 0.4 · 1/2 · 2 ln 2."""
    found = loss(LOGITS[None], torch.tensor([[0.6, 0.4, 0.0]]))
    assert found.item() == pytest.approx(1.6 * math.log(2))


def test_a_dcutmix_has_the_weighted_losses_of_its_images_by_area():
    generator = torch.Generator().manual_seed(0)
    mixer = MixingConfig(kind="dcutmix", num_images=3).build(3)
    labels = torch.tensor([0, 1, 2, 2, 1])
    images = labels[:, None, None, None].expand(-1, 3, 8, 8).float()
    mixed, targets = mixer(images, labels, generator)
    logits = torch.randn(5, 3, generator=generator)
    losses = -logits.log_softmax(1) * WEIGHTS  # [B, L]
    shown = mixed[:, 0].flatten(1).long()  # the class at each pixel
    assert (targets.gather(1, shown) > 0).all()
    torch.testing.assert_close(loss(logits, targets), losses.gather(1, shown).mean())


def test_label_smoothing_is_weighted_alike_for_labels_and_soft_labels():
    """Smoothing 0.3: 0.8 · 2 · ln 2 + 0.1 · 1/2 · 2 ln 2 + 0.1 · 3 · 2 ln 2."""
    one_hot = torch.tensor([[1.0, 0.0, 0.0]])
    for targets in (torch.tensor([0]), one_hot):
        found = loss(LOGITS[None], targets, label_smoothing=0.3)
        assert found.item() == pytest.approx(2.3 * math.log(2))


@pytest.mark.parametrize("soft", [False, True])
def test_parts_of_a_batch_add_up_to_its_weighted_loss(soft):
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(8, 3, generator=generator), torch.arange(8) % 3
    targets = torch.rand(8, 3, generator=generator).softmax(1) if soft else labels
    pairs = zip(logits.split([3, 5]), targets.split([3, 5]), strict=True)
    parts = sum(part_of_mean(loss(*pair), len(pair[0]), 8) for pair in pairs)
    torch.testing.assert_close(parts, loss(logits, targets))


def test_the_defaults_are_not_fingerprinted_so_that_earlier_results_are_found():
    names = {"class_weights", "class_weights_beta", "sampler"}
    for config in (ClassifierConfig(), RetrainConfig.model_validate({})):
        assert names <= type(config).model_fields.keys()
        assert not names & effective_settings(config).keys()
    changed = ClassifierConfig(class_weights="inverse")
    assert effective_settings(changed)["class_weights"] == "inverse"
    assert ClassifierConfig.model_validate(changed.model_dump()) == changed


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"class_weights": "inverse", "sampler": "balanced"}, "sampler\n.*one of the two"),
        ({"class_weights": "inverse", "class_weights_beta": 0.9}, "_beta\n.*no effect with"),
        ({"class_weights": "effective", "class_weights_beta": 1.0}, "_beta\n.*less than 1"),
        ({"class_weights": "square"}, "'none', 'inverse' or 'effective'"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings, expected):
    for config in (ClassifierConfig, RetrainConfig):
        with pytest.raises(ValidationError, match=expected):
            config.model_validate(settings)


@pytest.mark.parametrize("settings", [{"class_weights": "inverse"}, {"sampler": "balanced"}])
def test_a_scorer_that_is_not_trained_here_cannot_be_balanced(settings):
    for other, expected in (
        ({"model": "supernet"}, "model: supernet, which the search trains; allowed: "),
        ({"weights": "x.safetensors"}, "weights, which replace the training; allowed: "),
    ):
        with pytest.raises(ValidationError, match=expected):
            ClassifierConfig.model_validate(other | settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("none", 0.999, "uniform"), "none"),
        (("none", 0.999, "balanced"), "a balanced sampler"),
        (("inverse", 0.999, "uniform"), "class weights inverse"),
        (("effective", 0.99, "uniform"), "class weights effective (β = 0.99)"),
    ],
)
def test_what_is_done_about_unequal_classes_is_put_into_words(settings, words):
    assert describe_balance(*settings) == words


def test_losses_are_recorded_with_class_weights_and_not_with_repeated_images():
    assert ClassifierConfig(class_weights="inverse", record_losses=True).record_losses
    with pytest.raises(ValidationError, match=r"record_losses\n.*repeats and leaves out images"):
        ClassifierConfig(sampler="balanced", record_losses=True)


@pytest.mark.parametrize("settings", [{"class_weights": "effective"}, {"sampler": "balanced"}])
def test_a_stopped_training_ends_as_an_uninterrupted_one(tmp_path, settings):
    digits = load_dataset(DataConfig(kind="digits", classes=3, images_per_class=30))
    unequal = digits.with_train([*range(40), *range(60, 70)])
    config = ClassifierConfig.model_validate(
        {"model": "resnet8", "epochs": 2, "batch_size": 16, "learning_rate": 0.1} | settings
    )

    def train(folder, **more):
        workspace = Workspace(tmp_path / folder, **more)
        return train_classifier(unequal, config, seed=0, device=CPU, workspace=workspace)

    stopped = RuntimeError("stop")

    def stop(done, total, unit, **metrics):
        if unit == "epoch":
            raise stopped

    straight = train("straight")
    with pytest.raises(RuntimeError, match="stop"):
        train("stopped", progress=stop)
    for name, value in train("stopped").state_dict().items():
        assert torch.equal(value, straight.state_dict()[name]), name
    plain = config.model_copy(update={"class_weights": "none", "sampler": "uniform"})
    other = train_classifier(
        unequal, plain, seed=0, device=CPU, workspace=Workspace(tmp_path / "plain")
    )
    assert not torch.equal(next(other.parameters()), next(straight.parameters()))
