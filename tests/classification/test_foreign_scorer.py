"""A scorer trained elsewhere is given images normalised as in its own training."""

import json

import pytest
import torch
from torch import nn

from classification.classifier import (
    adapt_foreign_scorer,
    build_scorer,
    load_foreign_scorer,
    read_scorer,
)
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.data.transforms import Normalization
from classification.errors import ConfigError
from classification.models.input_conversion import adapt_inputs
from classification.models.input_statistics import AUTHORS, InputStatistics, statistics_beside
from classification.models.weights import save_classifier_weights
from pipeline.exports.network import CONFIG
from pipeline.store.store import MANIFEST

OWN = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 0.125)}


@pytest.fixture(scope="module")
def data():
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=8))


def config(path, **normalization):
    return ClassifierConfig(model="resnet8", weights=path, **normalization)


@pytest.fixture
def weights(tmp_path):
    """A file with the weights of a scorer, and nothing beside it."""
    save_classifier_weights(build_scorer("resnet8", 3, seed=5), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_the_first_convolution_gets_what_hand_working_gives():
    network = nn.Conv2d(3, 3, 1, bias=False)
    network.weight.data = torch.eye(3)[:, :, None, None]
    given = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    adapt_inputs(network, given, Normalization((0.25, 0.5, 0.75), (0.5, 0.25, 0.125)))
    # A pixel of 1.0 is 2 under `given`; under the network's own it is 1.5, 2 and 2.
    assert network(torch.full((1, 3, 1, 1), 2.0)).flatten().tolist() == [1.5, 2.0, 2.0]
    assert list(network.state_dict()) == ["weight"]


def test_logits_are_those_of_the_images_normalised_as_in_its_training(weights, data):
    scorer = build_scorer("resnet8", 3, seed=5).eval()
    pixels = data.test.images
    expected = scorer(Normalization(**OWN)(pixels))
    loaded = adapt_foreign_scorer(config(weights, normalization=OWN), data).eval()
    torch.testing.assert_close(loaded(data.normalization(pixels)), expected, rtol=1e-4, atol=1e-4)
    features = loaded.logits(loaded.features(data.normalization(pixels)))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    unconverted = scorer(data.normalization(pixels))
    assert not torch.allclose(unconverted, expected, rtol=1e-2, atol=1e-2)


def test_the_stages_that_read_the_stored_scorer_convert_as_well(weights, data):
    images = data.normalization(data.test.images)
    loaded = adapt_foreign_scorer(config(weights, normalization=OWN), data).eval()
    InputStatistics(**OWN).save(weights.parent)  # as the scorer stage does
    assert torch.equal(read_scorer("resnet8", data, weights).eval()(images), loaded(images))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CONFIG, {"format": 1, **OWN}),
        (CONFIG, {"architecture": "x", "pretrained_cfg": OWN}),
        (MANIFEST, {"preprocessing": OWN}),
    ],
)
def test_statistics_are_read_from_what_lies_beside_exported_or_stored_weights(
    weights, name, content
):
    assert statistics_beside(weights) is None
    (weights.parent / name).write_text(json.dumps(content))
    assert load_foreign_scorer(config(weights), 3)[1] == InputStatistics(**OWN)


def test_the_authors_checkpoint_has_the_authors_statistics(tmp_path, monkeypatch):
    # Not PyramidNet-110 itself, whose weights take seconds.
    monkeypatch.setattr("classification.classifier._AUTHORS_MODEL", "resnet8")
    state = build_scorer("resnet8", 3, seed=5).state_dict()
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"net": parallel, "epoch": 300}, tmp_path / "authors.pth")
    assert load_foreign_scorer(config(tmp_path / "authors.pth"), 3)[1] == AUTHORS
    torch.save({"net": state}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"scorer.normalization: missing, and .*other.pth"):
        load_foreign_scorer(config(tmp_path / "other.pth"), 3)


def test_unknown_statistics_are_asked_for(weights):
    with pytest.raises(ConfigError, match=r"scorer.normalization: missing"):
        load_foreign_scorer(config(weights), 3)


def test_a_scorer_trained_here_takes_no_normalization():
    with pytest.raises(ValueError, match="needs weights"):
        ClassifierConfig(normalization=OWN)
