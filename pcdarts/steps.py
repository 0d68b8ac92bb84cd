"""The two steps of a search iteration: α and β on one half of the images, weights on the other."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.loaders import Loader
from classification.data.transforms import Augmentation
from classification.persistence.checkpoint import State
from classification.training.schedules import load_optimizer
from classification.training.step import part_of_mean
from classification.world import ALONE, World
from pcdarts.architect import Architect
from pcdarts.supernet import Supernet


class SearchSteps:
    """Both steps of an iteration, including loading and augmentation, so they can be captured.

    `loaders` give the batches for the weights and those for α and β. The sums stay on the device,
    in `totals`; random draws use `generators`. Each process computes its local batch, with the
    gradients summed over all; `global_batches` are the images of both batches over all processes,
    not needed with one process.
    """

    def __init__(
        self,
        architect: Architect,
        optimizer: torch.optim.Optimizer,
        loaders: Sequence[Loader],
        augmentation: Augmentation,
        gradient_clip: float,
    ) -> None:
        self.model, self.optimizer = architect.model, optimizer
        device = self.model.betas_normal.device
        self._architect, self._loaders = architect, loaders
        self._augmentation, self._gradient_clip = augmentation, gradient_clip
        self._world = loaders[0].world
        self.global_batches = [0 for _ in loaders]
        self.generators = [torch.Generator(device) for _ in loaders]
        # Loss, correct, images, architecture loss, its images: read once an epoch.
        self.totals = torch.zeros(5, device=device)

    def weights(self, *index: Tensor) -> None:
        """Make a weight step on the first loader's batch `index`."""
        inputs, labels, global_batch = self._prepare(0, index)
        loss, logits = weight_step(
            self.model,
            self.optimizer,
            inputs,
            labels,
            self._gradient_clip,
            self._architect.precision,
            self._world,
            global_batch,
        )
        self.totals[0] += loss * len(labels)
        self.totals[1] += (logits.argmax(1) == labels).sum()
        self.totals[2] += len(labels)

    def architecture(self, *index: Tensor) -> None:
        """Make an architecture step on the second loader's batch `index`."""
        inputs, labels, global_batch = self._prepare(1, index)
        loss = self._architect.step(inputs, labels, self._world, global_batch)
        self.totals[3] += loss * len(labels)
        self.totals[4] += len(labels)

    def state(self) -> State:
        """Return the state to save: the model, including α and β, and both optimizers."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "architecture_optimizer": self._architect.optimizer.state_dict(),
        }

    def load_state(self, state: State) -> None:
        """Restore what `state` returned, or a warm-up's state without the second optimizer."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        if "architecture_optimizer" in state:
            load_optimizer(self._architect.optimizer, state["architecture_optimizer"])

    def _prepare(self, part: int, index: Sequence[Tensor]) -> tuple[Tensor, Tensor, int]:
        """Return local inputs and labels, and the number of images of the global batch."""
        loader = self._loaders[part]
        images, labels = loader.load(*index)
        images = self._augmentation(images, self.generators[part])
        if not loader.sharded:
            images, labels = self._world.local_batch(images), self._world.local_batch(labels)
        return images, labels, len(labels) if self._world.alone else self.global_batches[part]


def weight_step(
    model: Supernet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    gradient_clip: float,
    precision: Precision = "fp32",
    world: World = ALONE,
    global_batch: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights, α and β fixed; returns (loss, logits) before the update.

    `images` are normalised [N, 3, H, W]; `gradient_clip` is the largest norm of the gradient. In a
    `world` of several processes they are the local part of `global_batch` images, and the step is
    that of the global batch; loss and logits are local.
    """
    weights = model.weight_parameters()
    with autocast(precision, images.device):
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    part_of_mean(loss, len(labels), global_batch or len(labels)).backward(inputs=weights)
    world.sum_gradients(weights)
    nn.utils.clip_grad_norm_(weights, gradient_clip, foreach=True)
    optimizer.step()
    return loss.detach(), logits.detach()
