"""Scorer: a classifier trained with image mixing, or one loaded from elsewhere."""

from collections.abc import Mapping
from typing import Any

from classification.classifier import ScorerConfig, load_scorer, train_classifier
from classification.models.weights import save_classifier_weights
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.store import file_digest

WEIGHTS = "scorer.safetensors"


def run(context: Context) -> None:
    """Data → scorer.safetensors, metrics.jsonl."""
    config, data = context.config, context.datasets["data"]
    if config.scorer.weights is not None:
        model = load_scorer(config.scorer, data.num_classes, config.scorer.weights)
        context.say(f"scorer loaded from {config.scorer.weights}; its training is not counted here")
    else:
        model = train_classifier(
            data,
            config.scorer,
            seed=config.seed,
            device=context.device,
            workspace=context.workspace,
        )
    save_classifier_weights(model, context.workspace.path(WEIGHTS))


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """A loaded scorer is what its file holds, wherever that lies and whatever the seed."""
    scorer = config.scorer
    if scorer.weights is not None:
        return {"model": scorer.model, "weights": file_digest(scorer.weights)}
    augmentation = config.data.augmentation_settings()
    return {"scorer": training_settings(scorer), "seed": config.seed, **augmentation}


def training_settings(scorer: ScorerConfig) -> dict[str, Any]:
    """Of a scorer's config what decides its weights."""
    return scorer.model_dump(mode="json", exclude=_without_effect(scorer))


def _without_effect(scorer: ScorerConfig) -> dict[str, Any]:
    """Fields that decide nothing. Those that came later are named where they are used alone, so
    that scorers trained before keep their names."""
    unused: dict[str, Any] = {"cuda_graph": True}
    if not scorer.stochastic_depth:
        unused["stochastic_depth"] = True
    if not scorer.drop_block:
        unused |= {"drop_block": True, "drop_block_size": True}
    if scorer.mixing.side is None:
        unused["mixing"] = {"side"}
    return unused


STAGE = Stage("scorer", 2, lambda config: ("data",), settings, run, goal="classifier")
