"""Stages in the order of the data flow: each reads artifacts, calls a package, and writes one."""

from typing import Any

from pipeline.graph import Stage
from pipeline.stages import (
    baseline,
    contest,
    genotype,
    landscape,
    probe,
    ranking,
    retrain,
    robustness,
    scorer,
    scores,
    search,
    subset,
    width,
)

_ALL: tuple[Stage[Any], ...] = (
    scorer.STAGE,
    scores.STAGE,
    baseline.STAGE,
    subset.STAGE,
    *search.STAGES,
    genotype.STAGE,
    contest.STAGE,
    width.STAGE,
    retrain.STAGE,
    probe.STAGE,
    ranking.STAGE,
    robustness.STAGE,
    landscape.STAGE,
)
STAGES = {stage.name: stage for stage in _ALL}
