"""Dynamics of each training image over a training: forgetting events and the area under the margin.

Toneva et al. 2019 (Section 3.1) and Pleiss et al. 2020 take both from the training's own
forward passes. Here a mix of several images has no label of its own, so each image is observed
unmixed and unaugmented, in eval mode, by a pass over all of them after every epoch.
"""

import time

import torch
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.loaders import Loader
from classification.data.transforms import Normalization
from classification.persistence.arrays import save_array
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from classification.training.step import logits_of
from classification.training.trainer import evaluating

FORGETTING, AUM = "forgetting.npy", "aum.npy"


class Dynamics:
    """Running sums for each of N images, so that memory does not grow with the epochs: 14 bytes an
    image, on the CPU.

    An event is an image that was classified correctly after one epoch and is not after the next.
    The margin is the logit of the image's label less the highest of the others (Pleiss et al. 2020,
    Eq. 1).
    """

    def __init__(self, num_images: int) -> None:
        self.epochs = 0
        self._events = torch.zeros(num_images, dtype=torch.int32)
        self._correct = torch.zeros(num_images, dtype=torch.bool)  # after the last epoch
        self._learned = torch.zeros(num_images, dtype=torch.bool)
        self._margins = torch.zeros(num_images, dtype=torch.float64)

    @torch.no_grad()
    def observe(
        self,
        model: nn.Module,
        loader: Loader,
        normalization: Normalization,
        precision: Precision,
        workspace: Workspace,
    ) -> None:
        """Observe all images of `loader`, in the dataset's order, after an epoch of `model`.

        The model's mode is restored. The seconds go to the ledger as those of a part of the work.
        """
        begun, first = time.perf_counter(), 0
        with evaluating(model):
            for images, labels in loader.batches():
                with autocast(precision, images.device):
                    logits = logits_of(model(normalization(images)))
                self.add(logits, labels, first)
                first += len(labels)
        self.epochs += 1
        workspace.spent("training dynamics", time.perf_counter() - begun)

    def add(self, logits: Tensor, labels: Tensor, first: int) -> None:
        """Add an epoch's `logits` [B, L] and `labels` int64 [B] of the images from `first` on."""
        rows = slice(first, first + len(labels))
        others = logits.float().scatter(1, labels[:, None], -torch.inf)
        margins = (logits.float().gather(1, labels[:, None])[:, 0] - others.amax(1)).cpu()
        correct = margins > 0
        self._events[rows] += self._correct[rows] & ~correct
        self._learned[rows] |= correct
        self._correct[rows] = correct
        self._margins[rows] += margins.double()

    def forgetting(self) -> Tensor:
        """Return the forgetting events, float32 [N] (Toneva et al. 2019, Section 3).

        An image that was never learned counts as infinitely often forgotten: it gets the number of
        epochs, which no other reaches.
        """
        return self._events.float().where(self._learned, float(self.epochs))

    def area_under_margin(self) -> Tensor:
        """Return the mean margin over the epochs, float32 [N] (Pleiss et al. 2020, Eq. 2)."""
        return (self._margins / self.epochs).float()

    def state(self) -> State:
        """Return the sums, for a checkpoint."""
        return {
            "epochs": self.epochs,
            "events": self._events,
            "correct": self._correct,
            "learned": self._learned,
            "margins": self._margins,
        }

    def load_state(self, state: State) -> None:
        """Restore what `state` returned."""
        self.epochs = state["epochs"]
        self._events, self._margins = state["events"].clone(), state["margins"].clone()
        self._correct, self._learned = state["correct"].clone(), state["learned"].clone()

    def save(self, workspace: Workspace) -> None:
        """Write both measures to the workspace, float32 [N] each."""
        save_array(workspace.path(FORGETTING), self.forgetting().numpy())
        save_array(workspace.path(AUM), self.area_under_margin().numpy())
