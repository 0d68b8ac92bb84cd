"""Losses that the scorer's training recorded, in place of a pass over mixes.

The draws are the training's last epochs: in each an image was the canvas of one mix. Unlike in a
pass, the network learns between the draws, and it is in training mode.
"""

from pathlib import Path

import numpy as np

from classification.errors import PipelineError
from classification.mapped_array import read_array
from subsample.scores_config import ScoresConfig


def recorded_losses(losses: Path, entropies: Path, config: ScoresConfig) -> np.ndarray:
    """The last `draws` epochs of a record, float32 [N, draws], nats.

    `losses` and `entropies` are the files of `TrainingLosses`, [N, E] with E of at least `draws`.
    Where an image sat an epoch out stands the mean over its other draws, or over all its epochs if
    it has none. Raises PipelineError if it took part in no epoch.
    """
    record = np.asarray(read_array(losses, 2), np.float64)
    if config.loss == "kl":
        # Rounding alone can make it negative.
        record = np.maximum(record - read_array(entropies, 2), 0)
    drawn = record[:, -config.draws :].copy()
    for row in np.flatnonzero(np.isnan(drawn).any(1)):
        missing = np.isnan(drawn[row])
        others = record[row] if missing.all() else drawn[row]
        others = others[~np.isnan(others)]
        if not len(others):
            raise PipelineError(
                f"scores.source: training image {row} sat out every recorded epoch; allowed: a "
                "scorer of more epochs, or source pass"
            )
        drawn[row, missing] = others.mean()
    return drawn.astype(np.float32)
