"""Mixers, one file each: a batch in, mixed images and soft labels out."""

from classification.mixing.boxes import Boxes, compose, nest_boxes
from classification.mixing.config import MixingConfig, MixingContext
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
