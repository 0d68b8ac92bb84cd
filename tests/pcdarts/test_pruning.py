"""Which images a search drops, when, and what it costs; numbers worked by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation, Normalization
from classification.errors import ConfigError
from classification.persistence.workspace import METRICS, Workspace, read_metrics
from pcdarts.genotype import Genotype
from pcdarts.pruning import Pruning, most_telling, variability
from pcdarts.pruning_config import PRUNING, PruningConfig
from pcdarts.search import build_supernet, halves, search
from pcdarts.search_config import SearchConfig, check_search
from pipeline.config import PipelineConfig, describe_invalid

CPU = torch.device("cpu")
# 30 images, 3 classes × 5 in each half; half of a class is 2 of 5, a quarter is 1.
PRUNED: dict[str, Any] = {
    "after_epochs": 2,
    "every_epochs": 2,
    "rounds": 2,
    "final_fraction": 0.25,
}
SMALL: dict[str, Any] = {
    "epochs": 6,
    "warmup_epochs": 3,
    "channels": 4,
    "cells": 3,
    "batch_size": 3,
}


class _KilledError(Exception):
    pass


def run(directory: Path, kill_at: int | None = None, **pruning: Any) -> tuple[Genotype, Workspace]:
    """Search on 30 images of 8×8; killed at step `kill_at` of this call."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (30, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(30) % 3)
    config = SearchConfig.model_validate(SMALL | {"pruning": PRUNED | pruning})
    steps: list[int] = []

    def progress(done: int, total: int, unit: str, **metrics: float) -> None:
        steps.append(done)
        if len(steps) == kill_at:
            raise _KilledError

    places = halves(images.labels, 7)
    first, second = (images.take(part) for part in places)
    workspace = Workspace(directory, progress)
    spent.clear()
    workspace.spent = lambda part, seconds: spent.setdefault(part, []).append(seconds)
    augmentation = Augmentation(Normalization.of(pixels), crop_padding=1)
    found = search(
        (first, second),
        3,
        augmentation,
        config,
        7,
        workspace,
        CPU,
        indices=[p + 100 for p in places],
    )
    return found, workspace


spent: dict[str, list[float]] = {}


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Genotype, Path, dict[str, int]]:
    directory = tmp_path_factory.mktemp("pruned")
    found, _ = run(directory)
    return found, directory, {part: len(seconds) for part, seconds in spent.items()}


def test_variability_is_the_deviation_over_the_observations() -> None:
    seen = [torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.6, 0.9, 0.1])]
    # (0.2, 0.6): mean 0.4, both 0.2 away from it.
    torch.testing.assert_close(variability(seen).float(), torch.tensor([0.2, 0.0, 0.2]))
    third = variability([*seen, torch.tensor([0.4, 0.9, 0.9])])[0]  # (0.2, 0.6, 0.4)
    assert third.item() == pytest.approx((0.08 / 3) ** 0.5)


def test_the_images_of_largest_gain_are_kept_in_each_class() -> None:
    gains = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.2, 0.2, 0.8])
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 0])
    # Of class 0 images 0 and 6; of class 1 image 3, then the first of two equals.
    assert most_telling(gains, labels, [2, 2]).tolist() == [0, 3, 4, 6]
    assert most_telling(gains, labels, [1, 0]).tolist() == [0]


def test_the_schedule() -> None:
    config = PruningConfig(after_epochs=5, every_epochs=3, rounds=2, final_fraction=0.25)
    assert list(config.round_epochs) == [5, 8]
    assert config.observed_epochs == {4: 1, 5: 1, 7: 2, 8: 2}
    assert [config.fraction_after(epoch) for epoch in (4, 5, 7, 8, 30)] == [1, 0.5, 0.5, 0.25, 0.25]
    assert [config.kept_of(50, number) for number in (1, 2)] == [25, 12]
    assert config.kept_of(1, 2) == 1  # a class never disappears
    assert PruningConfig(by="random").observed_epochs == {}
    assert [config.trained_fraction(epoch) for epoch in (0, 4, 5, 8)] == [1, 1, 0.5, 0.25]
    sampled = config.model_copy(update={"warmup_fraction": 0.2})
    assert [sampled.trained_fraction(epoch) for epoch in (0, 4, 5, 8)] == [0.2, 0.2, 0.5, 0.25]
    assert [sampled.fraction_after(epoch) for epoch in (0, 4, 5)] == [1, 1, 0.5]
    assert [sampled.sampled_of(images) for images in (50, 1)] == [10, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"after_epochs": 5},
            "after_epochs 5, every_epochs 2 and rounds 2 set the last round after epoch 7; "
            "allowed: before the last epoch (search.epochs: 6)",
        ),
        (  # a list of that many epochs does not fit into memory
            {"rounds": 10**15},
            f"after_epochs 2, every_epochs 2 and rounds {10**15} set the last round after epoch "
            f"{2 * 10**15}; allowed: before the last epoch (search.epochs: 6)",
        ),
        (
            {"after_epochs": 1},
            "after_epochs 1 is less than the epochs observed before each round (observations: 2); "
            "allowed: at least 2",
        ),
        (
            {"observations": 3, "after_epochs": 3},
            "every_epochs 2 is less than the epochs observed before each round (observations: 3); "
            "allowed: at least 3",
        ),
    ],
    ids=str,
)
def test_a_schedule_that_does_not_fit_is_refused(changes: dict[str, int], message: str) -> None:
    search = SMALL | {"pruning": PRUNED | changes}
    with pytest.raises(ValidationError) as refused:
        PipelineConfig.model_validate({"name": "n", "data": {"kind": "digits"}, "search": search})
    assert describe_invalid(refused.value, PipelineConfig) == f"search.pruning: {message}"


def test_a_single_round_needs_no_epochs_to_the_next() -> None:
    PruningConfig(rounds=1, after_epochs=3, every_epochs=1, observations=3)
    PruningConfig(by="random", after_epochs=1, every_epochs=1)


def test_pruning_below_a_batch_is_refused_in_one_line() -> None:
    labels = torch.arange(30) % 3
    config = SearchConfig.model_validate(SMALL | {"pruning": PRUNED})
    check_search(labels, config, 8)  # one of five images of each class: a batch of 3
    config = config.model_copy(update={"batch_size": 4})
    with pytest.raises(ConfigError, match=r"0.25 of the 15 images .* leaves 3, less than a batch"):
        check_search(labels, config, 8)
    many = torch.arange(300) % 3
    with pytest.raises(ConfigError, match="for α and β leaves 3"):
        check_search(many, config, 8, architecture_labels=labels[:15])


def test_a_sample_of_less_than_a_batch_is_refused_in_one_line() -> None:
    labels = torch.arange(300) % 3  # 50 of each class in either half
    config = SearchConfig.model_validate(SMALL | {"pruning": PRUNED | {"warmup_fraction": 0.02}})
    check_search(labels, config, 8)  # one of each class: a batch of 3
    config = config.model_copy(update={"batch_size": 4})
    with pytest.raises(ConfigError) as refused:
        check_search(labels, config, 8)
    assert str(refused.value) == (
        "search.pruning.warmup_fraction: 0.02 of the 150 images for the weights leaves 3, less "
        "than a batch (search.batch_size: 4); allowed: a larger fraction or a smaller batch"
    )


def test_a_search_drops_images_and_records_which(pruned: Any) -> None:
    _, directory, parts = pruned
    rows = read_metrics(directory)
    # Rounds after epochs 2 and 4: 2 and 1 images of each of 3 classes are left in each half.
    assert [row["images"] for row in rows] == [[15, 15]] * 2 + [[6, 6]] * 2 + [[3, 3]] * 2
    found = json.loads((directory / PRUNING).read_text())
    assert found["images"] == [15, 15]
    assert [(each["epoch"], each["fraction"]) for each in found["rounds"]] == [(2, 0.5), (4, 0.25)]
    first, second = (each["kept"] for each in found["rounds"])
    all_of = [set((part + 100).tolist()) for part in halves(torch.arange(30) % 3, 7)]
    for name, all_images in zip(("weights", "architecture"), all_of, strict=True):
        assert set(second[name]) < set(first[name]) < all_images
        assert sorted((place - 100) % 3 for place in second[name]) == [0, 1, 2]
        assert first[name] == sorted(first[name])
    # Two epochs are observed for each round, and the second of them ranks.
    assert parts == {"pruning round 1": 2, "pruning round 2": 2}


@pytest.mark.parametrize("kill_at", [7, 19])
def test_a_killed_search_resumes_to_the_same_bytes(
    pruned: Any, tmp_path: Path, kill_at: int
) -> None:
    """Killed in epoch 2, between the two observations of round 1, and in epoch 5, after round 2."""
    genotype, directory, _ = pruned
    with pytest.raises(_KilledError):
        run(tmp_path, kill_at)
    assert run(tmp_path)[0] == genotype
    for name in (METRICS, PRUNING, "checkpoint-000006.safetensors"):
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()


def test_the_control_drops_as_many_at_random_and_observes_nothing(
    pruned: Any, tmp_path: Path
) -> None:
    run(tmp_path, by="random")
    assert {part: len(seconds) for part, seconds in spent.items()} == {
        "pruning round 1": 1,
        "pruning round 2": 1,
    }
    by_chance, by_dynamics = (
        json.loads((folder / PRUNING).read_text())["rounds"] for folder in (tmp_path, pruned[1])
    )
    for one, other in zip(by_chance, by_dynamics, strict=True):
        assert {k: len(v) for k, v in one["kept"].items()} == {
            k: len(v) for k, v in other["kept"].items()
        }
        assert one["kept"] != other["kept"]


SAMPLED: dict[str, Any] = {"warmup_fraction": 0.4, "after_epochs": 3, "rounds": 1}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Genotype, Path]:
    """A search on two of the five images of each class and half until it ranks all of them."""
    directory = tmp_path_factory.mktemp("sampled")
    return run(directory, **SAMPLED)[0], directory


def test_a_warm_up_on_a_sample_trains_on_it_and_ranks_all_images(sampled: Any) -> None:
    _, directory = sampled
    # 2 of 5 images of each of 3 classes for three epochs, then the one of 5 that is left.
    assert [row["images"] for row in read_metrics(directory)] == [[6, 6]] * 3 + [[3, 3]] * 3
    found = json.loads((directory / PRUNING).read_text())
    assert found["images"] == [15, 15]
    assert found["warmup"]["fraction"] == 0.4
    all_of = [set((part + 100).tolist()) for part in halves(torch.arange(30) % 3, 7)]
    (kept,) = (each["kept"] for each in found["rounds"])
    for name, all_images in zip(("weights", "architecture"), all_of, strict=True):
        sample = found["warmup"]["images"][name]
        assert set(sample) < all_images
        assert sorted((place - 100) % 3 for place in sample) == [0, 0, 1, 1, 2, 2]
        assert sample == sorted(sample)
        assert set(kept[name]) < all_images
    # Not only images of the sample are kept: the others are ranked too.
    assert not set(kept["weights"] + kept["architecture"]) <= set(
        found["warmup"]["images"]["weights"] + found["warmup"]["images"]["architecture"]
    )


@pytest.mark.parametrize("kill_at", [3, 8, 12])
def test_a_killed_search_with_a_sample_resumes_to_the_same_bytes(
    sampled: Any, tmp_path: Path, kill_at: int
) -> None:
    """Killed in epoch 1; in epoch 3, between the two observations; in epoch 4, after the round."""
    genotype, directory = sampled
    with pytest.raises(_KilledError):
        run(tmp_path, kill_at, **SAMPLED)
    assert run(tmp_path, **SAMPLED)[0] == genotype
    for name in (METRICS, PRUNING, "checkpoint-000006.safetensors"):
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()


def test_the_control_has_the_same_sample_and_keeps_random_images(
    sampled: Any, tmp_path: Path
) -> None:
    run(tmp_path, **SAMPLED, by="random")
    one, other = (json.loads((folder / PRUNING).read_text()) for folder in (sampled[1], tmp_path))
    assert one["warmup"] == other["warmup"]
    assert one["rounds"] != other["rounds"]
    assert [row["images"] for row in read_metrics(tmp_path)] == [
        row["images"] for row in read_metrics(sampled[1])
    ]


@pytest.mark.parametrize(
    "changes",
    [{"predictions": "plain"}, {"predictions": "mixes"}, {"warmup_fraction": 0.5}],
    ids=str,
)
def test_predictions_are_those_of_the_supernet_in_eval_mode(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    config = SearchConfig.model_validate(
        SMALL | {"pruning": PRUNED | {"after_epochs": 2} | changes}
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (12, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(12) % 3
    images, normalization = ImageSet(pixels, labels), Normalization.of(pixels)
    model = build_supernet(3, config, 0).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert config.pruning is not None
    parts = (images, images.take(torch.arange(6)))
    places = [torch.arange(12), torch.arange(6)]
    pruning = Pruning(config.pruning, parts, places, normalization, 3, 0, Workspace(tmp_path))
    assert not pruning.finish_epoch(1, model, config)
    ((of_weights, of_architecture),) = pruning.state()["observed"]
    with torch.no_grad():
        shares = model.eval()(normalization(pixels)).softmax(1)
    expected = shares[torch.arange(12), labels]
    if config.pruning.predictions == "plain":
        torch.testing.assert_close(of_weights, expected)
        torch.testing.assert_close(of_architecture, expected[:6])
    else:
        assert of_weights.shape == (12,)
        assert not torch.allclose(of_weights, expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
