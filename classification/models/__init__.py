"""Classifier networks by their name in a config."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.errors import ConfigError

if TYPE_CHECKING:
    from classification.models.network import Classifier


@dataclass(frozen=True)
class Architecture:
    """A class of this package, the arguments before its number of classes, and how often it halves
    its maps. Its module is imported when it is built, because torch is slow to import."""

    module: str
    name: str
    reductions: int
    arguments: tuple[int, ...] = ()

    def build(self, num_classes: int) -> Classifier:
        """Build the untrained network."""
        module = importlib.import_module(f"classification.models.{self.module}")
        network: Classifier = getattr(module, self.name)(*self.arguments, num_classes)
        return network


MODELS: dict[str, Architecture] = {
    "resnet8": Architecture("resnet", "ResNet", 2, (8,)),
    "resnet20": Architecture("resnet", "ResNet", 2, (20,)),
    "resnet9": Architecture("resnet9", "ResNet9", 3),
    "preact_resnet18": Architecture("resnet", "PreActResNet18", 3),
    "pyramidnet110": Architecture("pyramidnet", "PyramidNet", 2, (110, 64)),
    "pyramidnet200": Architecture("pyramidnet", "PyramidNet", 2, (200, 240)),
    "wrn16_8": Architecture("resnet", "WideResNet", 2, (16, 8)),
    "resnext29_4_24": Architecture("resnext", "ResNeXt", 2, (29, 4, 24)),
    "resnet50": Architecture("resnet50", "ResNet50", 5),
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
