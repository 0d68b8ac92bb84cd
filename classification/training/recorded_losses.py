"""Losses of each training image, recorded in every epoch of the training."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from classification.data.loaders import DeviceLoader
from classification.persistence.arrays import create_array, open_array
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import Workspace, finished_steps
from classification.training.step import Objective, logits_of
from classification.training.trainer import epoch_order

TRAINING_LOSSES = "training_losses.npy"
TRAINING_ENTROPIES = "training_entropies.npy"
_DIGESTS = ".training_losses.json"  # of each epoch's column in each file, while they grow


class TrainingLosses:
    """Losses and label entropies of N images over E epochs, in two files of the workspace.

    An image's loss is the cross-entropy of the mix whose canvas it is against the mixed label, from
    the training's own forward pass: in training mode, before the step, without label smoothing.
    `training_losses.npy` holds it and `training_entropies.npy` the mixed label's entropy, both
    float32 [N, E] in nats, NaN for an image that the epoch left out. An epoch is written before its
    checkpoint, so a killed training leaves the same bytes as an uninterrupted one.

    `order` maps an epoch (from 0) to its image rows in order, int64 [n].
    """

    def __init__(
        self,
        workspace: Workspace,
        num_images: int,
        epochs: int,
        order: Callable[[int], Tensor],
    ) -> None:
        self._order = order
        self._digests_path = workspace.path(_DIGESTS)
        paths = [workspace.path(name) for name in (TRAINING_LOSSES, TRAINING_ENTROPIES)]
        shape = (num_images, epochs)
        self._digests = _read_digests(self._digests_path)
        self._arrays = [array for path in paths if (array := open_array(path, shape)) is not None]
        begun = finished_steps(workspace.directory)
        if not self._vouched_for(begun, len(paths)):
            # A training cannot resume without the record of its earlier epochs.
            if begun:
                workspace.log(
                    f"warning: {paths[0]}: the record of the training's losses is damaged; "
                    "the training starts again"
                )
            workspace.discard_checkpoints()
            self._digests = []
            self._arrays = [create_array(path, shape) for path in paths]
        self._waiting: list[Tensor] = []  # [2, B], on the device, so that no step waits

    def watching(self, objective: Objective) -> Objective:
        """Wrap `objective` to record each image's loss; its value does not change."""

        def watched(output: Tensor, targets: Tensor) -> Tensor:
            self._waiting.append(measure(logits_of(output).detach(), targets))
            return objective(output, targets)

        return watched

    def store(self, epoch: int) -> None:
        """Write the losses of `epoch` (from 0) to disk."""
        noted = torch.cat(self._waiting, 1).cpu().numpy()
        self._waiting.clear()
        rows = self._order(epoch).cpu().numpy()
        if len(self._digests) > epoch:  # an epoch trained before, its checkpoint lost
            self._vouch(self._digests[:epoch])
        digests = []
        for array, values in zip(self._arrays, noted, strict=True):
            column = np.full(len(array), np.nan, np.float32)
            column[rows] = values
            array[:, epoch] = column
            array.flush()
            digests.append(_digest(column))
        self._vouch([*self._digests, digests])

    def _vouch(self, digests: list[list[str]]) -> None:
        self._digests = digests
        write_atomically(self._digests_path, json.dumps(digests))

    def _vouched_for(self, epochs: int, files: int) -> bool:
        """Whether both files exist and their first `epochs` columns match the digests."""
        if len(self._arrays) < files or len(self._digests) < epochs:
            return False
        return all(
            self._digests[epoch] == [_digest(array[:, epoch]) for array in self._arrays]
            for epoch in range(epochs)
        )


def _digest(column: np.ndarray) -> str:
    return hashlib.sha256(column.tobytes()).hexdigest()


def _read_digests(path: Path) -> list[list[str]]:
    """Read the digests; an empty list if the file is missing or damaged."""
    with suppress(OSError, ValueError):
        digests = json.loads(path.read_bytes())
        return digests if isinstance(digests, list) else []
    return []


def rows_in_order(train: DeviceLoader, seed: int, stream: str, epoch: int) -> Tensor:
    """Return the image rows in an epoch's order (from 0) in `fit`, int64 [n] on the device."""
    order = epoch_order(seed, stream, epoch)
    return torch.cat([rows for (rows,) in train.index_batches(order)])


@torch.no_grad()
def measure(logits: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropy and label entropy of each image, float32 [2, B], nats.

    `targets` are labels int64 [B] or soft [B, L].
    """
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    if targets.ndim == 1:
        return torch.stack([losses, torch.zeros_like(losses)])
    return torch.stack([losses, -torch.special.xlogy(targets, targets).sum(1)])
