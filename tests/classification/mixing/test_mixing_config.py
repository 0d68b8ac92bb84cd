import math
import sys
from typing import get_args

import pytest
import torch

from classification.data.transforms import Normalization
from classification.errors import ConfigError
from classification.mixing import (
    Cutout,
    DCutMix,
    DMixup,
    ManifoldMixup,
    MixingConfig,
    MixingContext,
    Mixup,
    SaliencyDCutMix,
)
from classification.mixing.config import Kind
from classification.models import build_classifier


def test_default_config_is_the_papers_for_cifar100():
    mixer = MixingConfig().build(100)
    assert isinstance(mixer, DCutMix)
    assert (mixer.num_images, mixer.alpha, mixer.prob, mixer.num_classes) == (5, 0.2, 1.0, 100)


def test_config_builds_each_kind():
    assert MixingConfig(kind="none").build(10) is None
    assert type(MixingConfig(kind="mixup").build(10)) is Mixup
    assert MixingConfig(kind="cutmix", prob=0.5).build(10).alpha == 1.0
    mixer = MixingConfig(kind="dmixup", num_images=3).build(10)
    assert type(mixer) is DMixup
    assert math.isclose(mixer.alpha, 1 / 3)
    assert type(MixingConfig(kind="saliency_dcutmix").build(10)) is SaliencyDCutMix
    assert MixingConfig(kind="cutout", side=8).build(10).side == 8
    assert type(MixingConfig(kind="cutout").build(10)) is Cutout


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "cutmix", "num_images": 3},
        {"kind": "none", "alpha": 1.0},
        {"kind": "cutout", "alpha": 1.0},
        {"kind": "cutmix", "side": 8},
        {"kind": "cutout", "side": 0},
        {"num_images": 1},
        {"alpha": 0.0},
        {"alpha": float("inf")},
        {"prob": 1.5},
        {"kind": "mosaic"},
        {"images": 3},
    ],
    ids=str,
)
def test_config_rejects(setting):
    with pytest.raises(ValueError, match=next(reversed(setting))):
        MixingConfig(**setting)


def test_mixers_that_look_into_the_model_are_built_with_it():
    model = build_classifier("resnet8", 10)
    mixing_context = MixingContext(Normalization((0.5,) * 3, (0.25,) * 3), model, [model.layer2])
    config = MixingConfig(kind="manifold_mixup", alpha=2.0, prob=0.5)
    assert config.needs_model
    mixer = config.build(10, mixing_context)
    assert isinstance(mixer, ManifoldMixup)
    assert (mixer.stages, mixer.alpha, mixer.prob) == ((model.layer2,), 2.0, 0.5)
    with pytest.raises(ValueError, match="needs the model"):
        config.build(10)


def test_saliency_is_taken_of_the_unnormalised_images():
    normalization = Normalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    pixels = torch.randint(256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    mixing_context = MixingContext(normalization, torch.nn.Identity(), [])
    config, labels = MixingConfig(kind="saliency_dcutmix", num_images=3), torch.arange(6)
    raw = config.build(6).mix(pixels.byte(), labels, torch.Generator().manual_seed(1))
    mixer = config.build(6, mixing_context)
    mix = mixer.mix(normalization(pixels.byte()), labels, torch.Generator().manual_seed(1))
    assert torch.equal(mix.saliency, raw.saliency)
    assert torch.equal(mix.images, normalization(raw.images))


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"num_images": 1, "alpha": 1.0}, "num_images"),
        ({"num_images": 3, "alpha": 0.0}, "alpha"),
        ({"num_images": 3, "alpha": 1.0, "prob": -0.1}, "prob"),
    ],
)
def test_mixer_names_the_parameter_it_rejects(arguments, key):
    with pytest.raises(ConfigError, match=f"mixing.{key}: found"):
        DCutMix(**arguments)


def test_comixup_without_its_library_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setitem(sys.modules, "classification.mixing.comixup", None)
    with pytest.raises(ConfigError, match=r"mixing\.kind: comixup needs PyMaxflow"):
        MixingConfig(kind="comixup").check()
    MixingConfig(kind="puzzlemix").check()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_config_and_its_mixer_agree_on_what_can_be_captured(kind):
    model = build_classifier("resnet8", 10)
    mixing_context = MixingContext(Normalization((0.5,) * 3, (0.25,) * 3), model, model.stages[1:3])
    config = MixingConfig(kind=kind)
    mixer = config.build(10, mixing_context)
    assert config.capturable == (mixer is None or mixer.capturable)
    assert config.describe()
