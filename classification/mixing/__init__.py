"""Image mixing on the device: a batch in, mixed images and soft targets out."""

from classification.mixing.boxes import Boxes, compose, nest_boxes
from classification.mixing.config import MixingConfig
from classification.mixing.dirichlet import DCutMix, DMixup, sample_fractions
from classification.mixing.mixer import Mixer, soft_targets
from classification.mixing.pairwise import CutMix, Mixup

__all__ = [
    "Boxes",
    "CutMix",
    "DCutMix",
    "DMixup",
    "Mixer",
    "MixingConfig",
    "Mixup",
    "compose",
    "nest_boxes",
    "sample_fractions",
    "soft_targets",
]
