"""Stages in the order of the data flow: each reads artifacts, calls a package, and writes one."""

from typing import Any

from pipeline.graph import Stage
from pipeline.stages import (
    baseline,
    landscape,
    probe,
    ranking,
    retrain,
    robustness,
    scorer,
    scores,
    search,
    subset,
)

STAGES: dict[str, Stage[Any]] = {
    stage.name: stage
    for stage in (
        scorer.STAGE,
        scores.STAGE,
        baseline.STAGE,
        subset.STAGE,
        search.STAGE,
        retrain.STAGE,
        probe.STAGE,
        ranking.STAGE,
        robustness.STAGE,
        landscape.STAGE,
    )
}
