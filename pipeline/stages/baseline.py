"""Baseline: what another measure than the losses under mixing says of every training image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from classification.classifier import load_scorer
from classification.trainer import place
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import WEIGHTS
from subsample.baselines import dropout_uncertainty, el2n, extract_features
from subsample.coreset import k_center_ranks

VALUES = "values.npy"


def run(context: Context) -> None:
    """Data, scorer → values.npy float32 [N], the images to keep highest."""
    config, data = context.config, context.datasets["data"]
    train = data.in_memory().to(context.device)
    model = load_scorer(config.scorer, data.num_classes, context.input("scorer", WEIGHTS))
    place(model, context.device)
    images, normalization = train.images, data.normalization
    batch, progress = config.scores.batch_size, context.workspace.progress
    if config.subset.measure == "mc_dropout":
        dropout = config.subset.dropout
        values = dropout_uncertainty(
            model, images, normalization, dropout, config.seed, batch, progress
        )
    elif config.subset.measure == "el2n":
        values = el2n(model, images, train.labels, normalization, batch, progress)
    else:
        features = extract_features(model, images, normalization, batch, progress)
        values = -k_center_ranks(features, train.labels).float()
    np.save(context.workspace.path(VALUES), values.cpu().numpy())


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """Only dropout draws anything."""
    measure = config.subset.measure
    if measure != "mc_dropout":
        return {"measure": measure}
    dropout = config.subset.dropout.model_dump(mode="json")
    return {"measure": measure, "dropout": dropout, "seed": config.seed}


STAGE = Stage("baseline", 1, lambda config: ("data", "scorer"), settings, run)
