"""Retrain: the found network, trained from scratch on the target images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.data.config import AugmentationSettings
from classification.persistence.storage import write_atomically
from evaluate.retrain_config import RetrainConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.contest import genotype_stage, load_genotype

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

WEIGHTS, SUMMARY = "network.safetensors", "network.json"


class RetrainSettings(StageSettings):
    """The network, its training, and the augmentation of the target."""

    retrain: RetrainConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[RetrainSettings]) -> None:
    """Target, genotype → network.safetensors, network.json, confusion.json, metrics.jsonl."""
    from classification.models.weights import save_classifier_weights  # slow to import
    from classification.persistence.workspace import read_metrics
    from evaluate.complexity import complexity_warning
    from evaluate.confusion import CONFUSION, count_confusions, save_confusions
    from evaluate.retrain import network_complexity, retrain, summarise_accuracy

    settings = context.settings
    target = context.datasets["target"]
    genotype = load_genotype(context)
    complexity = network_complexity(genotype, settings.retrain, target)
    context.log(
        f"network: {complexity.parameters:,} parameters, {complexity.multiply_adds:,} multiply-adds"
    )
    warning = complexity_warning(complexity)
    if warning:
        context.log(f"warning: {warning}")
    network = retrain(
        genotype,
        target,
        settings.retrain,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    save_classifier_weights(network, context.workspace.path(WEIGHTS))
    counts = count_confusions(
        network,
        target.test,
        target.normalization,
        target.num_classes,
        device=context.device,
        world=context.workspace.world,
        precision=settings.retrain.precision,
    )
    save_confusions(counts, context.workspace.path(CONFUSION))
    summary = {
        "parameters": complexity.parameters,
        "auxiliary_parameters": complexity.auxiliary_parameters,
        "multiply_adds": complexity.multiply_adds,
        "accuracy": summarise_accuracy(read_metrics(context.workspace.directory)),
    }
    write_atomically(context.workspace.path(SUMMARY), json.dumps(summary, indent=1) + "\n")


def settings(config: PipelineConfig) -> RetrainSettings:
    """Return the settings of the stage."""
    return RetrainSettings(
        retrain=config.retrain, augmentation=config.target.augmentation, seed=config.seed
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a target with images too small for the network or too few for a batch."""
    from evaluate.retrain import check_retrain

    check_acceleration("retrain", config.retrain.precision, "auto", device)
    check_retrain(config.retrain, datasets["target"])


STAGE = Stage(
    "retrain",
    3,
    lambda config: ("target", genotype_stage(config)),
    settings,
    check,
    run,
    goal="network",
    parallel=True,
    trained_on="target",
)
