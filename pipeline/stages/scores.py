"""Scores: the loss of every training image under M random mixes, and what it says of them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from classification.persistence.arrays import save_array
from classification.persistence.storage import write_atomically
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import load_trained
from subsample.reliability import reliability_warning, split_half_reliability
from subsample.uncertainty import measure_losses, recorded_losses, summarise, write_scores_csv

LOSSES, TABLE, RELIABILITY = "losses.npy", "scores.csv", "reliability.json"


def run(context: Context) -> None:
    """Data, scorer → losses.npy [N, M], scores.csv, reliability.json."""
    config = context.config
    data = context.datasets["data"]
    losses = _recall(context) if config.scores.source == "training" else _measure(context)
    if not context.workspace.world.is_first:
        return  # what the losses say is said once
    scores = summarise(losses, config.scores)
    labels = data.train.labels.numpy()
    write_scores_csv(context.workspace.path(TABLE), labels, scores)
    reliability = split_half_reliability(losses, config.scores)
    warning = reliability_warning(reliability, config.scores)
    if warning:
        context.log(f"warning: {warning}")
    record = {
        "correlation": reliability.correlation,
        "spearman_brown": reliability.spearman_brown,
        "warning": warning,
    }
    write_atomically(context.workspace.path(RELIABILITY), json.dumps(record, indent=1) + "\n")


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """What is drawn for a pass; of a record only which part of it is taken, and how it is seen."""
    scores = config.scores
    if scores.source == "training":
        taken = scores.model_dump(mode="json", include={"source", "draws", "loss", "cv_floor"})
        return {"scores": taken}
    unused = {"batch_size", "source"}
    return {"scores": scores.model_dump(mode="json", exclude=unused), "seed": config.seed}


def _measure(context: Context) -> np.ndarray:
    config, data = context.config, context.datasets["data"]
    train = data.in_memory().to(context.device)
    return measure_losses(
        load_trained(context),
        train.images,
        train.labels,
        data.num_classes,
        data.normalization,
        config.scores,
        config.seed,
        context.workspace,
    )


def _recall(context: Context) -> np.ndarray:
    losses, entropies = (
        context.input("scorer", name) for name in (TRAINING_LOSSES, TRAINING_ENTROPIES)
    )
    recorded = recorded_losses(losses, entropies, context.config.scores)
    save_array(context.workspace.path(LOSSES), recorded)
    return recorded


STAGE = Stage("scores", 1, lambda config: ("data", "scorer"), settings, run, parallel=True)
