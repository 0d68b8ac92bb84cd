import math

import pytest
import torch
from pydantic import ValidationError

from classification.errors import ConfigError
from pcdarts.search_config import SearchConfig, check_search


def test_a_search_on_imagenet_has_the_settings_published_for_it() -> None:
    """Xu et al. 2020, Section 4.3, and train_search_imagenet.py of their repository."""
    config = SearchConfig(network="imagenet")
    assert (config.channels, config.cells, config.partial_channels) == (16, 8, 2)
    assert (config.epochs, config.warmup_epochs, config.batch_size) == (50, 35, 1024)
    assert (config.learning_rate, config.architecture_learning_rate) == (0.5, 6e-3)
    assert (config.weight_decay, config.architecture_weight_decay) == (3e-4, 1e-3)
    assert SearchConfig(network="imagenet", batch_size=64).batch_size == 64


def test_the_rate_rises_in_equal_steps_and_goes_on_along_the_cosine() -> None:
    """50 epochs, 5 of them rising: a fifth more an epoch; half of it all at epoch 25."""
    share = SearchConfig(network="imagenet").make_schedule()
    assert [share(epoch) for epoch in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert share(5) == pytest.approx(0.5 * (1 + math.cos(0.1 * math.pi)))
    assert share(25) == pytest.approx(0.5)
    assert SearchConfig().make_schedule()(0) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 10, "warmup_epochs": 15}, r"epochs must exceed warmup_epochs \(15\), got 10"),
        (
            {"epochs": 4, "warmup_epochs": 1, "rate_warmup_epochs": 5},
            r"epochs must exceed rate_warmup_epochs \(5\), got 4",
        ),
        ({"channels": 10}, r"channels must be a multiple of partial_channels \(4\), got 10"),
        ({"cells": 2}, "greater than or equal to 3"),
        ({"batch_size": 1}, "greater than 1"),
        ({"epoch": 50}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_config_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchConfig(**changes)


@pytest.mark.parametrize(
    ("labels", "batch_size", "side", "message"),
    [
        (
            [0, 1] * 72,
            256,
            32,
            "search.batch_size: 256 exceeds a search half of 72 images; allowed: at most 72",
        ),
        ([0, 0, 1, 1, 2], 2, 32, "subset.fraction: leaves class 2 with 1 image; "),
        ([0, 0, 2, 2], 2, 32, "subset.fraction: leaves class 1 with 0 images; "),
        ([0, 0, 1, 1], 2, 7, "data.image_size: 7 pixels are too few"),
    ],
)
def test_a_subset_that_cannot_be_searched_is_refused(
    labels: list[int], batch_size: int, side: int, message: str
) -> None:
    config = SearchConfig(batch_size=batch_size)
    with pytest.raises(ConfigError) as caught:
        check_search(torch.tensor(labels), config, side)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "side", "message"),
    [
        ((16, 4), 64, "search.batch_size: 8 exceeds the 4 images for α and β (subset.architect"),
        ((6, 8), 64, "search.batch_size: 8 exceeds the 6 images for the weights (subset.fraction"),
        ((16, 8), 63, "data.image_size: 63 pixels are too few for the supernet's imagenet stem"),
    ],
)
def test_lists_that_cannot_be_searched_are_refused(
    sizes: tuple[int, int], side: int, message: str
) -> None:
    weights, architecture = (torch.arange(size) % 2 for size in sizes)
    config = SearchConfig(network="imagenet", batch_size=8)
    with pytest.raises(ConfigError) as caught:
        check_search(weights, config, side, architecture)
    assert message in str(caught.value)
    check_search(torch.arange(8) % 2, config, 64, torch.arange(8) % 2)


def test_the_smallest_subset_passes_and_one_image_less_does_not() -> None:
    check_search(torch.tensor([0, 0, 1, 1]), SearchConfig(batch_size=2), 8)
    with pytest.raises(ConfigError):
        check_search(torch.tensor([0, 0, 1]), SearchConfig(batch_size=2), 8)


def test_a_default_warm_up_that_fills_the_epochs_is_shortened_in_proportion():
    assert SearchConfig(epochs=10).warmup_epochs == 3  # 15 of 50
    assert SearchConfig(epochs=16).warmup_epochs == 15  # results of such configs stay
    assert SearchConfig(epochs=2).warmup_epochs == 0
    imagenet = SearchConfig.model_validate({"network": "imagenet", "epochs": 5})
    assert (imagenet.warmup_epochs, imagenet.rate_warmup_epochs) == (3, 0)
