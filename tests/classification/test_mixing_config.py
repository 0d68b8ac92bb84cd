import math

import pytest
import torch

from classification.errors import ConfigError
from classification.mixing import DCutMix, DMixup, MixingConfig, Mixup


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


@pytest.mark.parametrize(
    "setting",
    [
        {"kind": "cutmix", "num_images": 3},
        {"kind": "none", "alpha": 1.0},
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


def test_integer_labels_without_num_classes_are_refused():
    with pytest.raises(ConfigError, match=r"mixing\.num_classes"):
        DCutMix(3, 1.0)(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), torch.Generator())
