"""Retrain: the found network, from scratch, on the target images."""

import json
from collections.abc import Mapping
from typing import Any

from classification.models.weights import save_classifier_weights
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import read_metrics
from evaluate.complexity import complexity_warning
from evaluate.retrain import network_complexity, retrain, summarise_accuracy
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.search import GENOTYPE

WEIGHTS, SUMMARY = "network.safetensors", "network.json"


def run(context: Context) -> None:
    """Target, genotype → network.safetensors, network.json, metrics.jsonl."""
    config = context.config
    target = context.datasets["target"]
    genotype = Genotype.load(context.input("search", GENOTYPE))
    complexity = network_complexity(genotype, config.retrain, target)
    context.log(
        f"network: {complexity.parameters:,} parameters, {complexity.multiply_adds:,} multiply-adds"
    )
    warning = complexity_warning(complexity)
    if warning:
        context.log(f"warning: {warning}")
    network = retrain(
        genotype,
        target,
        config.retrain,
        seed=config.seed,
        device=context.device,
        workspace=context.workspace,
    )
    save_classifier_weights(network, context.workspace.path(WEIGHTS))
    summary = {
        "parameters": complexity.parameters,
        "auxiliary_parameters": complexity.auxiliary_parameters,
        "multiply_adds": complexity.multiply_adds,
        "accuracy": summarise_accuracy(read_metrics(context.workspace.directory)),
    }
    write_atomically(context.workspace.path(SUMMARY), json.dumps(summary, indent=1) + "\n")


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """The network, its training, and how the target is augmented."""
    return {
        "retrain": config.retrain.identity(),
        "seed": config.seed,
        **config.target.augmentation_settings(),
    }


STAGE = Stage(
    "retrain",
    1,
    lambda config: ("target", "search"),
    settings,
    run,
    goal="network",
    parallel=True,
)
