"""Mixers, one file each: a batch in, mixed images and soft labels out.

All but the settings are imported when they are first used, because torch is slow to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from classification.mixing.config import MixingConfig, MixingContext

if TYPE_CHECKING:
    from classification.mixing.boxes import Boxes, compose, nest_boxes
    from classification.mixing.dirichlet import DCutMix, DMixup, SaliencyDCutMix
    from classification.mixing.manifold import ManifoldMixup
    from classification.mixing.mixer import (
        BatchMixer,
        DirichletMixer,
        Mix,
        Mixer,
        sample_fractions,
        soft_targets,
    )
    from classification.mixing.pairwise import CutMix, Cutout, Mixup

__all__ = [
    "BatchMixer",
    "Boxes",
    "CutMix",
    "Cutout",
    "DCutMix",
    "DMixup",
    "DirichletMixer",
    "ManifoldMixup",
    "Mix",
    "Mixer",
    "MixingConfig",
    "MixingContext",
    "Mixup",
    "SaliencyDCutMix",
    "compose",
    "nest_boxes",
    "sample_fractions",
    "soft_targets",
]

_MODULES = {
    "boxes": ("Boxes", "compose", "nest_boxes"),
    "dirichlet": ("DCutMix", "DMixup", "SaliencyDCutMix"),
    "manifold": ("ManifoldMixup",),
    "mixer": ("BatchMixer", "DirichletMixer", "Mix", "Mixer", "sample_fractions", "soft_targets"),
    "pairwise": ("CutMix", "Cutout", "Mixup"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"classification.mixing.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
