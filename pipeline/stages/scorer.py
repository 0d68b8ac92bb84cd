"""Scorer: a classifier trained with image mixing, one loaded from elsewhere, or the supernet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from classification.classifier import load_scorer, train_classifier
from classification.config import SUPERNET, ClassifierConfig
from classification.models.weights import save_classifier_weights
from classification.persistence.checkpoint import save_checkpoint
from classification.training.trainer import to_device
from pcdarts.warm_up import load_supernet, warm_up
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.store.store import file_digest

WEIGHTS = "scorer.safetensors"
WARM_START = "supernet.safetensors"

# Of the search's settings those that decide what its warm-up leaves.
_WARM_UP = {
    "epochs", "warmup_epochs", "channels", "cells", "partial_channels", "batch_size",
    "learning_rate", "momentum", "weight_decay", "gradient_clip", "precision", "network",
    "rate_warmup_epochs",
}  # fmt: skip


def run(context: Context) -> None:
    """Data → scorer.safetensors, metrics.jsonl.

    With record_losses also training_losses.npy and training_entropies.npy [N, E]; of a supernet
    also supernet.safetensors, from where the search goes on.
    """
    config, data = context.config, context.datasets["data"]
    model: nn.Module
    if config.scorer.weights is not None:
        model = load_scorer(config.scorer, data.num_classes, config.scorer.weights)
        context.log(f"scorer loaded from {config.scorer.weights}; its training is not counted here")
    elif config.scorer.model == SUPERNET:
        model, state = warm_up(
            data,
            config.search,
            config.scorer.mixing,
            config.scorer.label_smoothing,
            config.scorer.graph_mode,
            seed=config.seed,
            device=context.device,
            workspace=context.workspace,
        )
        save_checkpoint(context.workspace.path(WARM_START), state)
    else:
        model = train_classifier(
            data,
            config.scorer,
            seed=config.seed,
            device=context.device,
            workspace=context.workspace,
        )
    save_classifier_weights(model, context.workspace.path(WEIGHTS))


def load_trained(context: Context) -> nn.Module:
    """The scorer that this stage made, on the device."""
    num_classes = context.datasets["data"].num_classes
    model = load_from(context.input("scorer", WEIGHTS), context.config, num_classes)
    return to_device(model, context.device)


def load_from(path: Path, config: PipelineConfig, num_classes: int) -> nn.Module:
    """The scorer whose weights this stage left in `path`, on the CPU."""
    if config.scorer.model == SUPERNET:
        return load_supernet(config.search, num_classes, path)
    return load_scorer(config.scorer, num_classes, path)


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """A loaded scorer is what its file holds, wherever that lies and whatever the seed."""
    scorer = config.scorer
    if scorer.weights is not None:
        return {"model": scorer.model, "weights": file_digest(scorer.weights)}
    augmentation = config.data.augmentation_settings()
    if scorer.model == SUPERNET:
        search = {k: v for k, v in config.search.identity().items() if k in _WARM_UP}
        trained = training_settings(scorer)
        decided = {key: trained[key] for key in ("model", "mixing", "label_smoothing")}
        return {"scorer": decided, "search": search, "seed": config.seed, **augmentation}
    return {"scorer": training_settings(scorer), "seed": config.seed, **augmentation}


def training_settings(scorer: ClassifierConfig) -> dict[str, Any]:
    """Of a scorer's config what decides its weights, and what is recorded of its training."""
    return scorer.model_dump(mode="json", exclude=_without_effect(scorer))


def _without_effect(scorer: ClassifierConfig) -> dict[str, Any]:
    """Fields that decide nothing. Those that came later are named where they are used alone, so
    that scorers trained before keep their names."""
    unused: dict[str, Any] = {"cuda_graph": True, "checkpoint_steps": True}
    if not scorer.stochastic_depth:
        unused["stochastic_depth"] = True
    if not scorer.drop_block:
        unused |= {"drop_block": True, "drop_block_size": True}
    if scorer.mixing.side is None:
        unused["mixing"] = {"side"}
    if scorer.stop_epoch is None:
        unused["stop_epoch"] = True
    if not scorer.record_losses:
        unused["record_losses"] = True
    if scorer.test_every == 1:
        unused["test_every"] = True
    return unused


STAGE = Stage(
    "scorer", 2, lambda config: ("data",), settings, run, goal="classifier", parallel=True
)
