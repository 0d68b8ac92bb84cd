"""Retrain: the found network, trained from scratch on the target images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.data.config import AugmentationSettings
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object
from evaluate.retrain_config import RetrainConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.genotype import genotype_stage, load_genotype
from pipeline.stages.search import GENOTYPE
from pipeline.stages.width import chosen_width
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from pcdarts.genotype import Genotype

WEIGHTS, SUMMARY = "network.safetensors", "network.json"


class RetrainSettings(StageSettings):
    """The network, its training, and the augmentation of the target."""

    retrain: RetrainConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[RetrainSettings]) -> None:
    """Target, genotype, width → network.safetensors, network.json, genotype.json, confusion.json,
    metrics.jsonl.
    """
    from classification.models.weights import save_classifier_weights  # slow to import
    from classification.persistence.workspace import read_metrics
    from evaluate.complexity import complexity_warning
    from evaluate.confusion import CONFUSION, count_confusions, save_confusions
    from evaluate.retrain import network_complexity, retrain, summarise_accuracy

    settings = context.settings
    target = context.datasets["target"]
    genotype = load_genotype(context)
    config = settings.retrain
    if "width" in context.inputs:
        channels = chosen_width(context.inputs["width"])["channels"]
        config = config.model_copy(update={"channels": channels})
    complexity = network_complexity(genotype, config, target)
    context.log(f"network: {config.channels} channels, {complexity}")
    warning = complexity_warning(complexity)
    if warning:
        context.log(f"warning: {warning}")
    network = retrain(
        genotype,
        target,
        config,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    save_classifier_weights(network, context.workspace.path(WEIGHTS))
    counts = count_confusions(
        network,
        target,
        device=context.device,
        world=context.workspace.world,
        precision=settings.retrain.precision,
    )
    save_confusions(counts, context.workspace.path(CONFUSION))
    genotype.save(context.workspace.path(GENOTYPE))
    summary = {
        "channels": config.channels,
        "parameters": complexity.parameters,
        "auxiliary_parameters": complexity.auxiliary_parameters,
        "multiply_adds": complexity.multiply_adds,
        "all_multiply_adds": complexity.all_multiply_adds,
        "accuracy": summarise_accuracy(read_metrics(context.workspace.directory)),
    }
    write_atomically(context.workspace.path(SUMMARY), json.dumps(summary, indent=1) + "\n")


def settings(config: PipelineConfig) -> RetrainSettings:
    """Return the settings of the stage."""
    return RetrainSettings(
        retrain=config.retrain, augmentation=config.target.augmentation, seed=config.seed
    )


def retrained_network(config: RetrainConfig, artifact: Artifact) -> tuple[Genotype, RetrainConfig]:
    """Return the genotype of the stage's artifact, and `config` with the channels it was given."""
    from pcdarts.genotype import Genotype  # slow to import

    channels = read_object(artifact.path / SUMMARY)["channels"]
    genotype = Genotype.load(artifact.path / GENOTYPE)
    return genotype, config.model_copy(update={"channels": channels})


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a target with images too small for the network or too few for a batch."""
    from evaluate.retrain import check_retrain

    check_acceleration("retrain", config.retrain.precision, "auto", device)
    check_retrain(config.retrain, datasets["target"])


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    width = () if config.budget is None else ("width",)
    return ("target", genotype_stage(config), *width)


STAGE = Stage(
    "retrain",
    5,
    _needs,
    settings,
    check,
    run,
    goal="network",
    parallel=True,
    trained_on="target",
)
