"""Landscape: the loss around the weights of a trained classifier, scorer or network."""

import json
from collections.abc import Mapping
from typing import Any

from classification.config import SUPERNET
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from evaluate.figures.landscape import landscape_figures
from evaluate.figures.style import save_figure
from evaluate.landscape.config import LandscapeConfig, check_landscape
from evaluate.landscape.measure import landscape
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.evaluated_network import (
    Trained,
    check_of,
    dataset_of,
    load_classifier,
    needs_of,
    trained_of,
)

RESULT = "landscape.json"


def run(context: Context) -> None:
    """Data, scorer, or target, search, retrain → landscape.json, landscape-*.png."""
    config, of = context.config, whose(context.config)
    dataset = context.datasets[dataset_of(of)]
    found = landscape(
        load_classifier(context, of),
        dataset,
        _landscape(config),
        seed=config.seed,
        device=context.device,
        workspace=context.workspace,
    )
    result = {"of": of} | found
    write_atomically(context.workspace.path(RESULT), json.dumps(result, indent=1) + "\n")
    for name, figure in landscape_figures({config.name: result}).items():
        save_figure(figure, context.workspace.path(f"{name}.png"))


def whose(config: PipelineConfig) -> Trained:
    """Which of a run's classifiers is looked at."""
    return trained_of(config, _landscape(config).of)


def needs(config: PipelineConfig) -> tuple[str, ...]:
    """The images, and what the classifier is made from."""
    return needs_of(whose(config))


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """What is drawn, and the seed of its images, directions and noise."""
    drawn = _landscape(config).model_dump(mode="json", exclude={"of"})
    return {"landscape": drawn, "of": whose(config), "seed": config.seed}


def check_landscape_stage(config: PipelineConfig) -> None:
    """Raise ConfigError, naming the setting, for what the stage could not do."""
    if config.landscape is None:
        return
    check_of(config, "landscape.of", config.landscape.of)
    if whose(config) == "scorer" and config.scorer.model == SUPERNET:
        raise ConfigError(
            "landscape.of: found 'scorer' where scorer.model is supernet, whose architecture is no "
            "weight to disturb; allowed: network where the goal is one, or another scorer.model"
        )
    check_landscape(config.landscape)


def _landscape(config: PipelineConfig) -> LandscapeConfig:
    assert config.landscape is not None  # the stage is only asked for by it
    return config.landscape


STAGE = Stage(
    "landscape", 1, needs, settings, run, asked=lambda config: config.landscape is not None
)
