"""The record: each training image's loss in every epoch, kept while a classifier trains."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from classification.loaders import DeviceLoader
from classification.mapped_array import create_array, open_array
from classification.trainer import epoch_order
from classification.training_step import Objective, logits_of
from classification.workspace import Workspace

TRAINING_LOSSES = "training_losses.npy"
TRAINING_ENTROPIES = "training_entropies.npy"


class TrainingLosses:
    """Losses and label entropies of N images over E epochs, in two files of the workspace.

    An image's loss is the cross-entropy of the mix of which it is the canvas, image i of the batch,
    against the mixed label: of the very forward pass that trains, so in training mode and from
    before the step, without label smoothing. `training_losses.npy` holds it and
    `training_entropies.npy` the mixed label's entropy, both float32 [N, E] in nats, NaN for an
    image that sat out the epoch. An epoch is on disk before its checkpoint, so a training that was
    killed leaves the same bytes as one that was not.

    `order` turns an epoch (from 0) into the rows of the images as it saw them, int64 [n].
    """

    def __init__(
        self,
        workspace: Workspace,
        num_images: int,
        epochs: int,
        order: Callable[[int], Tensor],
    ) -> None:
        self._order = order
        paths = [workspace.path(name) for name in (TRAINING_LOSSES, TRAINING_ENTROPIES)]
        shape = (num_images, epochs)
        standing = [open_array(path, shape) for path in paths]
        self._arrays = [array for array in standing if array is not None]
        if len(self._arrays) < len(paths):
            # Without its record a training begun before cannot go on.
            workspace.discard_checkpoints()
            self._arrays = [create_array(path, shape) for path in paths]
        self._waiting: list[Tensor] = []  # [2, B], on the device, so that no step waits

    def watching(self, objective: Objective) -> Objective:
        """`objective`, its value unchanged, that notes each image's loss as it is called."""

        def watched(output: Tensor, targets: Tensor) -> Tensor:
            self._waiting.append(measure(logits_of(output).detach(), targets))
            return objective(output, targets)

        return watched

    def store(self, epoch: int) -> None:
        """Write what was noted in `epoch` (from 0); on disk when this returns."""
        noted = torch.cat(self._waiting, 1).cpu().numpy()
        self._waiting.clear()
        rows = self._order(epoch).cpu().numpy()
        for array, values in zip(self._arrays, noted, strict=True):
            column = np.full(len(array), np.nan, np.float32)
            column[rows] = values
            array[:, epoch] = column
            array.flush()


def rows_in_order(train: DeviceLoader, seed: int, purpose: str, epoch: int) -> Tensor:
    """The rows of the images as an epoch of `fit` (from 0) sees them, int64 [n] on the device."""
    return torch.cat([rows for (rows,) in train.handles(epoch_order(seed, purpose, epoch))])


@torch.no_grad()
def measure(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and the label's entropy of each image, float32 [2, B], nats.

    `targets` are labels int64 [B] or soft [B, L].
    """
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    if targets.ndim == 1:
        return torch.stack([losses, torch.zeros_like(losses)])
    return torch.stack([losses, -torch.special.xlogy(targets, targets).sum(1)])
