"""Landscape: the loss around the weights of a trained classifier, scorer or network."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from classification.checkpoint import write_atomically
from classification.errors import ConfigError
from classification.models.weights import load_classifier_weights
from classification.scorer_config import SUPERNET
from classification.trainer import place
from evaluate.figures import save_figure
from evaluate.landscape import landscape
from evaluate.landscape_config import LandscapeConfig, check_landscape
from evaluate.landscape_figures import landscape_figures
from evaluate.retrain import build_network
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.retrain import WEIGHTS as NETWORK_WEIGHTS
from pipeline.stages.scorer import load_trained
from pipeline.stages.search import GENOTYPE

RESULT = "landscape.json"


def run(context: Context) -> None:
    """Data, scorer, or target, search, retrain → landscape.json, landscape-*.png."""
    config, of = context.config, whose(context.config)
    dataset = context.datasets["target" if of == "network" else "data"]
    model = _load_network(context) if of == "network" else load_trained(context)
    found = landscape(
        model,
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


def whose(config: PipelineConfig) -> Literal["scorer", "network"]:
    """Which of a run's classifiers is looked at; the network only where a run makes one."""
    of = _landscape(config).of
    return "network" if config.goal == "network" and of != "scorer" else "scorer"


def needs(config: PipelineConfig) -> tuple[str, ...]:
    """The images, and what the classifier is made from."""
    return ("target", "search", "retrain") if whose(config) == "network" else ("data", "scorer")


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """What is drawn, and the seed of its images, directions and noise."""
    drawn = _landscape(config).model_dump(mode="json", exclude={"of"})
    return {"landscape": drawn, "of": whose(config), "seed": config.seed}


def check_landscape_stage(config: PipelineConfig) -> None:
    """Raise ConfigError, naming the setting, for what the stage could not do."""
    if config.landscape is None:
        return
    if config.landscape.of == "network" and config.goal != "network":
        raise ConfigError(
            f"landscape.of: found 'network' where the goal is a {config.goal}; allowed: none, "
            "scorer"
        )
    if whose(config) == "scorer" and config.scorer.model == SUPERNET:
        raise ConfigError(
            "landscape.of: found 'scorer' where scorer.model is supernet, whose architecture is no "
            "weight to disturb; allowed: network where the goal is one, or another scorer.model"
        )
    check_landscape(config.landscape)


def _landscape(config: PipelineConfig) -> LandscapeConfig:
    assert config.landscape is not None  # the stage is only asked for by it
    return config.landscape


def _load_network(context: Context) -> nn.Module:
    """The retrained network, on the device."""
    genotype = Genotype.load(context.input("search", GENOTYPE))
    num_classes = context.datasets["target"].num_classes
    network = build_network(genotype, context.config.retrain, num_classes)
    load_classifier_weights(network, context.input("retrain", NETWORK_WEIGHTS))
    return place(network, context.device)


STAGE = Stage(
    "landscape", 1, needs, settings, run, asked=lambda config: config.landscape is not None
)
