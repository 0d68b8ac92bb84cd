import math

import pytest
import torch
from pydantic import ValidationError

import evaluate.retrain
from classification.data.augmentation import ColourJitter
from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.errors import ConfigError
from classification.persistence.workspace import Workspace
from evaluate.retrain import (
    RetrainConfig,
    build_network,
    check_retrain,
    network_complexity,
    retrain,
    summarise_accuracy,
)
from pcdarts.published_genotypes import GENOTYPES

GENOTYPE = GENOTYPES["pcdarts_cifar10"]
TINY = {"network": "cifar", "channels": 4, "cells": 3, "epochs": 2, "batch_size": 8}


def dataset(size=8, number=24):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=generator)
    split = ImageSet(images, torch.arange(number) % 3)
    return ImageDataset("toy", ("a", "b", "c"), split, split, Normalization.of(images), 1, True)


def config(**settings):
    return RetrainConfig.model_validate(TINY | settings)


def test_the_papers_network_has_the_published_size():
    paper = RetrainConfig.model_validate({})
    complexity = network_complexity(GENOTYPE, paper, dataset(size=32))
    # Three classes instead of ten: seven rows of 576 weights and a bias fewer.
    assert complexity.parameters == 3_634_678 - 7 * 577
    assert complexity.auxiliary_parameters == 476_426 - 7 * 769


def test_an_auxiliary_weight_of_zero_builds_no_auxiliary_head():
    network = build_network(GENOTYPE, config(auxiliary_weight=0), 3)
    logits, auxiliary = network.train()(torch.zeros(2, 3, 8, 8))
    assert logits.shape == (2, 3)
    assert auxiliary is None


def test_a_network_on_imagenet_is_trained_with_the_published_hue_and_rates():
    """PC-DARTS' train_imagenet.py: hue 0.2; 5/1225 of 0.5 in the first of the last five epochs."""
    published = RetrainConfig.model_validate({"network": "imagenet"})
    recipe = evaluate.retrain._recipe(torch.nn.Identity(), None, dataset(), published)
    assert published.hue == 0.2
    assert recipe.learning_rate * recipe.schedule(245) == pytest.approx(0.5 * 5 / 1225)
    assert RetrainConfig.model_validate({}).hue == 0


def test_training_jitters_the_colours_by_its_own_hue(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(ImageDataset, "with_jitter", lambda data, own: seen.append(own) or data)
    place, cpu = Workspace(tmp_path), torch.device("cpu")
    retrain(GENOTYPE, dataset(), config(hue=0.1, epochs=1), seed=0, device=cpu, workspace=place)
    assert seen == [ColourJitter(strength=0.4, hue=0.1)]


def test_class_weights_count_what_is_left_to_train_on_and_weight_both_heads(monkeypatch, tmp_path):
    """8 images of each class less 1, 2 and 4 that are no longer there; a quarter is held out."""
    seen, cpu = [], torch.device("cpu")
    recipe_of = evaluate.retrain._recipe
    monkeypatch.setattr(
        evaluate.retrain, "_recipe", lambda *a: seen.append(recipe_of(*a)) or seen[-1]
    )
    rows = [n for n in range(24) if n not in (0, 1, 4, 2, 5, 8, 11)]  # 7, 6 and 4 images
    weighted = config(epochs=1, class_weights="inverse", validation_fraction=0.25)
    data, place = dataset().with_train(rows), Workspace(tmp_path)
    retrain(GENOTYPE, data, weighted, seed=0, device=cpu, workspace=place)
    (recipe,) = seen
    # 5, 4 and 3 images of 12: weights 12/15, 12/12 and 12/9.
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    both = recipe.objective((logits, logits), torch.tensor([[0.5, 0.0, 0.5]]))
    of_one = (0.5 * 12 / 15 + 0.5 * 2 * 12 / 9) * math.log(2)
    assert both.item() == pytest.approx(1.4 * of_one)


def test_path_dropout_rises_linearly_over_the_epochs(tmp_path):
    seen = []

    def progress(done, total, unit, **metrics):
        if unit == "epoch":
            seen.append(done)

    network = retrain(
        GENOTYPE,
        dataset(),
        config(epochs=4, drop_path=0.4),
        seed=0,
        device=torch.device("cpu"),
        workspace=Workspace(tmp_path, progress),
    )
    assert seen == [1, 2, 3, 4]
    assert network.drop_path_prob == pytest.approx(0.3)  # 0.4 · 3/4 in the last of four


def test_a_stopped_retraining_ends_bit_for_bit(tmp_path):
    class StopError(Exception):
        pass

    def stop(done, total, unit, **metrics):
        if unit == "epoch":
            raise StopError

    def train(folder, **progress):
        return retrain(
            GENOTYPE,
            dataset(),
            config(validation_fraction=0.25),
            seed=0,
            device=torch.device("cpu"),
            workspace=Workspace(tmp_path / folder, **progress),
        )

    straight = train("straight")
    with pytest.raises(StopError):
        train("stopped", progress=stop)
    resumed = train("stopped")
    for (name, a), b in zip(
        straight.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    rows = Workspace(tmp_path / "stopped").rows()
    assert rows == Workspace(tmp_path / "straight").rows()
    assert {"test_accuracy", "validation_accuracy"} <= set(rows[0])


@pytest.mark.parametrize("held_out", [0, 0.25])
def test_epochs_between_two_tests_are_not_tested_and_train_alike(held_out, tmp_path):
    """Of three epochs the second is tested, as asked, and the third, the last."""

    def train(folder, **settings):
        training = config(epochs=3, validation_fraction=held_out, **settings)
        place, cpu = Workspace(tmp_path / folder), torch.device("cpu")
        network = retrain(GENOTYPE, dataset(), training, seed=0, device=cpu, workspace=place)
        return network.state_dict(), place.rows()

    (weights, each), (others, second) = train("each"), train("second", test_every=2)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert second[1:] == each[1:]
    measured = {name for name in each[0] if name.startswith(("test_", "validation_"))}
    assert second[0] == {name: each[0][name] for name in each[0] if name not in measured}
    assert measured == {
        f"{name}_{value}"
        for name in (["test", "validation"] if held_out else ["test"])
        for value in ("loss", "accuracy", "top5_accuracy")
    }
    assert summarise_accuracy(second)["best_epoch"] in (2, 3)


def rows(test, validation=None):
    return [
        {"epoch": i + 1, "test_accuracy": t, "test_top5_accuracy": 1.0}
        | ({} if validation is None else {"validation_accuracy": validation[i]})
        for i, t in enumerate(test)
    ]


def test_the_averaged_network_counts_its_batches_like_the_network_it_averages(tmp_path):
    """24 images in batches of 8: three steps an epoch, so 30 in ten epochs."""
    trained = retrain(
        GENOTYPE,
        dataset(),
        config(channels=2, epochs=10, average_decay=0.9, auxiliary_weight=0),
        seed=0,
        device=torch.device("cpu"),
        workspace=Workspace(tmp_path),
    )
    counts = {n: b for n, b in trained.named_buffers() if n.endswith("num_batches_tracked")}
    assert counts
    assert {int(count) for count in counts.values()} == {30}


def test_without_validation_the_best_is_the_lowest_test_error_and_says_so():
    summary = summarise_accuracy(rows([0.5, 0.75, 0.625]))
    assert summary == {
        "top1_error_last": 37.5,
        "top1_error_best": 25.0,
        "top5_error_last": 0.0,
        "best_epoch": 2,
        "best_chosen_by": "test",
    }


def test_with_validation_test_images_choose_nothing():
    summary = summarise_accuracy(rows([0.5, 0.75, 0.625], validation=[0.9, 0.1, 0.9]))
    assert (summary["best_epoch"], summary["top1_error_best"]) == (1, 50.0)
    assert summary["best_chosen_by"] == "validation"


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, 4, r"target\.image_size: 4"),
        ({"network": "imagenet", "epochs": 9}, 32, r"target\.image_size: 32"),
        ({"batch_size": 25}, 8, r"retrain\.batch_size: 25"),
    ],
)
def test_what_cannot_be_trained_is_refused(settings, size, expected):
    with pytest.raises(ConfigError, match=expected):
        check_retrain(config(**settings), dataset(size))


def test_warm_up_must_end_before_training_does():
    with pytest.raises(ValidationError, match="must exceed warmup_epochs"):
        config(network="imagenet", epochs=5, warmup_epochs=5)
    # The default, 5 of 250 epochs, is shortened in proportion where it would fill all epochs.
    assert config(network="imagenet", epochs=5).warmup_epochs == 0
    assert config(network="imagenet", epochs=6).warmup_epochs == 5


def test_manifold_mixup_is_refused_for_a_network_of_cells():
    with pytest.raises(ValueError, match="kind manifold_mixup mixes between the stages"):
        RetrainConfig.model_validate({"mixing": {"kind": "manifold_mixup"}})


def test_no_part_of_a_batch_is_a_single_image(tmp_path):
    """BatchNorm over the auxiliary head's 1×1 maps refuses one image.

    In two epochs 23 images make three batches of 7 (2 + 2 + 3) and one of 2.
    """
    sizes = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: (
            sizes.append(len(inputs[0]))
            if type(module).__name__ == "CifarNetwork" and module.training
            else None
        )
    )
    try:
        retrain(
            GENOTYPE,
            dataset(number=23),
            config(batch_size=7, device_batch_size=2),
            seed=0,
            device=torch.device("cpu"),
            workspace=Workspace(tmp_path),
        )
    finally:
        handle.remove()
    assert sorted(sizes[:10]) == [2] * 7 + [3] * 3
    assert len(sizes) == 20
