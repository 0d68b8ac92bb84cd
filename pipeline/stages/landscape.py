"""Landscape: the loss around the weights of a trained classifier."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.config import SUPERNET
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from classification.settings import part_of
from evaluate.landscape.config import LandscapeConfig, SurfaceConfig, check_landscape
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.evaluated_network import EvaluatedNetwork, check_evaluated_network

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

RESULT = "landscape.json"


class LandscapeSettings(StageSettings):
    """The measurements, the classifier, and the seed of images, directions and noise."""

    landscape: SurfaceConfig
    evaluated: EvaluatedNetwork
    seed: int


def run(context: Context[LandscapeSettings]) -> None:
    """Data, scorer, or target, retrain → landscape.json, landscape-*.png."""
    from evaluate.figures.landscape import landscape_figures  # slow to import
    from evaluate.figures.style import save_figure
    from evaluate.landscape.measure import landscape

    settings, evaluated = context.settings, context.settings.evaluated
    dataset = context.datasets[evaluated.dataset]
    found = landscape(
        evaluated.load(context),
        dataset,
        settings.landscape,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    result = {"of": evaluated.of, "architecture": evaluated.architecture} | found
    write_atomically(context.workspace.path(RESULT), json.dumps(result, indent=1) + "\n")
    figures = landscape_figures({evaluated.architecture: result}, dataset.evaluated)
    for name, figure in figures.items():
        save_figure(figure, context.workspace.path(f"{name}.png"))


def settings(config: PipelineConfig) -> LandscapeSettings:
    """Return the settings of the stage."""
    return LandscapeSettings(
        landscape=part_of(_landscape(config), SurfaceConfig),
        evaluated=_evaluated(config),
        seed=config.seed,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a network that the run does not make, a supernet, and a missing library."""
    check_evaluated_network(config, "landscape.of", _landscape(config).of)
    if _evaluated(config).architecture == SUPERNET:
        raise ConfigError(
            "landscape.of: found 'scorer' with scorer.model supernet, which has no landscape here; "
            "allowed: network if it is the goal, or another scorer.model"
        )
    check_landscape(_landscape(config))


def _evaluated(config: PipelineConfig) -> EvaluatedNetwork:
    return EvaluatedNetwork.choose(config, _landscape(config).of)


def _landscape(config: PipelineConfig) -> LandscapeConfig:
    assert config.landscape is not None  # the stage exists only if it is set
    return config.landscape


STAGE = Stage(
    "landscape",
    1,
    lambda config: _evaluated(config).needs,
    settings,
    check,
    run,
    asked=lambda config: config.landscape is not None,
)
