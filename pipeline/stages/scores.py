"""Scores: the losses of every training image under M random mixes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from classification.settings import part_of
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.scorer import ScorerNetwork
from subsample.config import LossesConfig, ScoresConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

    from classification.data.datasets import ImageDataset

LOSSES, TABLE, RELIABILITY = "losses.npy", "scores.csv", "reliability.json"


class MeasuredScores(StageSettings):
    """Losses measured with the trained scorer."""

    scores: ScoresConfig
    scorer: ScorerNetwork
    seed: int


class RecordedScores(StageSettings):
    """Losses recorded during the scorer's training."""

    scores: LossesConfig


ScoresSettings = MeasuredScores | RecordedScores


def run(context: Context[ScoresSettings]) -> None:
    """Data, scorer → losses.npy [N, M], scores.csv, reliability.json."""
    from subsample.reliability import (  # slow to import
        reliability_warning,
        split_half_reliability,
    )
    from subsample.uncertainty import summarise, write_scores_csv

    settings, data = context.settings, context.datasets["data"]
    if isinstance(settings, MeasuredScores):
        losses = _measure(context, settings)
    else:
        losses = _read_recorded(context, settings.scores)
    if not context.workspace.world.is_first:
        return  # one process writes the results
    scores = summarise(losses, settings.scores)
    labels = data.train.labels.numpy()
    write_scores_csv(context.workspace.path(TABLE), labels, scores)
    reliability = split_half_reliability(losses, settings.scores)
    warning = reliability_warning(reliability, settings.scores)
    if warning:
        context.log(f"warning: {warning}")
    record = {
        "correlation": reliability.correlation,
        "spearman_brown": reliability.spearman_brown,
        "interval": reliability.interval,
        "warning": warning,
    }
    write_atomically(context.workspace.path(RELIABILITY), json.dumps(record, indent=1) + "\n")


def settings(config: PipelineConfig) -> ScoresSettings:
    """Return the settings of the draws, or for recorded losses only those of their use."""
    if config.scores.source == "training":
        return RecordedScores(scores=part_of(config.scores, LossesConfig))
    return MeasuredScores(
        scores=part_of(config.scores, ScoresConfig),
        scorer=ScorerNetwork.of(config),
        seed=config.seed,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject images in files, a box that has no place, and recorded losses that the scorer does not
    provide."""
    from classification.classifier import never_seen
    from subsample.boxes import box_corners
    from subsample.uncertainty import check_anchors

    scorer, scores = config.scorer, config.scores
    check_acceleration("scores", scores.precision, "auto", device)
    datasets["data"].in_memory()
    if scores.source != "training":
        check_anchors(len(datasets["data"].train))
        if scores.box is not None:
            side = datasets["data"].image_size
            box_corners(scores, side, side)
        return
    if not scorer.record_losses:
        raise ConfigError(
            "scores.source: found 'training', but the scorer records no losses; allowed: pass, or "
            "scorer.record_losses true"
        )
    if scorer.trained_epochs < scores.draws:
        raise ConfigError(
            f"scores.draws: found {scores.draws}, but the scorer trains for "
            f"{scorer.trained_epochs} epochs; allowed: at most this number with scores.source "
            "training"
        )
    row = never_seen(scorer, len(datasets["data"].train), config.seed)
    if row is not None:
        raise ConfigError(
            f"scores.source: found 'training', but training image {row} is in none of the scorer's "
            f"{scorer.trained_epochs} epochs; allowed: pass, or more epochs, or a batch_size that "
            "leaves no single image over"
        )


def _measure(context: Context[ScoresSettings], settings: MeasuredScores) -> np.ndarray:
    from subsample.uncertainty import measure_losses

    data = context.datasets["data"]
    train = data.in_memory().to(context.device)
    return measure_losses(
        settings.scorer.load(context),
        train.images,
        train.labels,
        data.num_classes,
        data.normalization,
        settings.scores,
        settings.seed,
        context.workspace,
    )


def _read_recorded(context: Context[ScoresSettings], scores: LossesConfig) -> np.ndarray:
    from classification.persistence.arrays import save_array
    from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
    from subsample.uncertainty import recorded_losses

    losses, entropies = (
        context.input("scorer", name) for name in (TRAINING_LOSSES, TRAINING_ENTROPIES)
    )
    recorded = recorded_losses(losses, entropies, scores)
    save_array(context.workspace.path(LOSSES), recorded)
    return recorded


STAGE = Stage("scores", 1, lambda config: ("data", "scorer"), settings, check, run, parallel=True)
