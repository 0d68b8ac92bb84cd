"""Classifier networks by their name in a config."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from classification.errors import ConfigError
from classification.models.network import Classifier
from classification.models.pyramidnet import PyramidNet
from classification.models.resnet import PreActResNet18, ResNet, WideResNet
from classification.models.resnet9 import ResNet9
from classification.models.resnext import ResNeXt


@dataclass(frozen=True)
class Architecture:
    """`build` takes the number of classes; `reductions` counts how often maps are halved."""

    build: Callable[[int], Classifier]
    reductions: int


def _build_resnet50(num_classes: int) -> Classifier:
    from classification.models.resnet50 import ResNet50  # slow to import, needed only here

    return ResNet50(num_classes)


MODELS: dict[str, Architecture] = {
    "resnet8": Architecture(partial(ResNet, 8), 2),
    "resnet20": Architecture(partial(ResNet, 20), 2),
    "resnet9": Architecture(ResNet9, 3),
    "preact_resnet18": Architecture(PreActResNet18, 3),
    "pyramidnet110": Architecture(partial(PyramidNet, 110, 64), 2),
    "pyramidnet200": Architecture(partial(PyramidNet, 200, 240), 2),
    "wrn16_8": Architecture(partial(WideResNet, 16, 8), 2),
    "resnext29_4_24": Architecture(partial(ResNeXt, 29, 4, 24), 2),
    "resnet50": Architecture(_build_resnet50, 5),
}


def build_classifier(name: str, num_classes: int) -> Classifier:
    """Build an untrained classifier: normalised images [N, 3, H, W] to logits [N, L].

    Its weights come from torch's global generator. Raises ConfigError for an unknown name.
    """
    return _architecture(name).build(num_classes)


def smallest_classifier_input(name: str) -> int:
    """Return the smallest image side, in pixels, at which every reduction halves its maps.

    Smaller images work too, with maps of one pixel. Raises ConfigError for an unknown name.
    """
    return 2 ** _architecture(name).reductions


def _architecture(name: str) -> Architecture:
    if name not in MODELS:
        raise ConfigError(f"model: found {name!r}, allowed: {', '.join(MODELS)}")
    return MODELS[name]
