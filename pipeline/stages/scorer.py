"""Scorer: a classifier trained with DCutMix, or one loaded from elsewhere."""

from collections.abc import Mapping
from typing import Any

from classification.classifier import load_scorer, train_classifier
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
    chosen = scorer.model_dump(mode="json", exclude={"cuda_graph"})
    return {"scorer": chosen, "seed": config.seed, **augmentation}


STAGE = Stage("scorer", 2, lambda config: ("data",), settings, run)
