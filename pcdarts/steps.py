"""The two steps of a search iteration: α and β on one half of the images, weights on the other."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.data.loaders import Batch, Loader
from classification.data.transforms import Augmentation
from classification.distributed import ALONE, World
from pcdarts.architect import Architect
from pcdarts.supernet import Supernet


class SearchSteps:
    """Both steps of an iteration, gather and augmentation included, so that they can be captured.

    What they add up stays on the device, in `totals`; they draw from `generators`. In a world of
    several processes each works on its share of a batch of so many images as `wholes` says of the
    part, and the gradients are those of all.
    """

    def __init__(
        self,
        architect: Architect,
        optimizer: torch.optim.Optimizer,
        loaders: Sequence[Loader],
        augmentation: Augmentation,
        gradient_clip: float,
        world: World = ALONE,
    ) -> None:
        device = architect.model.betas_normal.device
        self._architect, self._optimizer = architect, optimizer
        self._loaders, self._augmentation = loaders, augmentation
        self._gradient_clip, self._world = gradient_clip, world
        self.wholes = [0 for _ in loaders]  # of no use alone
        self.generators = [torch.Generator(device) for _ in loaders]
        # Loss, correct, images, architecture loss, its images: read once an epoch.
        self.totals = torch.zeros(5, device=device)

    def weights(self, *handle: Tensor) -> None:
        """A weight step on a batch of the first loader's."""
        inputs, labels = self._prepare(0, handle)
        loss, logits = weight_step(
            self._architect.model,
            self._optimizer,
            inputs,
            labels,
            self._gradient_clip,
            self._architect.precision,
            self._world,
            self._share(0, labels),
        )
        self.totals[0] += loss * len(labels)
        self.totals[1] += (logits.argmax(1) == labels).sum()
        self.totals[2] += len(labels)

    def architecture(self, *handle: Tensor) -> None:
        """An architecture step on a batch of the second loader's."""
        inputs, labels = self._prepare(1, handle)
        loss = self._architect.step(inputs, labels, self._world, self._share(1, labels))
        self.totals[3] += loss * len(labels)
        self.totals[4] += len(labels)

    def _prepare(self, part: int, handle: Sequence[Tensor]) -> Batch:
        loader = self._loaders[part]
        images, labels = loader.gather(*handle)
        images = self._augmentation(images, self.generators[part])
        if loader.sharded:
            return images, labels
        return self._world.share(images), self._world.share(labels)

    def _share(self, part: int, labels: Tensor) -> float:
        return 1.0 if self._world.alone else len(labels) / self.wholes[part]


def weight_step(
    model: Supernet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    gradient_clip: float,
    precision: Precision = "fp32",
    world: World = ALONE,
    share: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """One step of the weights, α and β constant; returns (loss, logits) from before it.

    `images` are normalised [N, 3, H, W]; `gradient_clip` is the largest norm of the gradient. In a
    `world` of several processes they are a `share` of the batch, and the step is that of the whole.
    """
    weights = model.weight_parameters()
    with autocast(precision, images.device):
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    (loss if world.alone else loss * share).backward(inputs=weights)
    world.sum_gradients(weights)
    nn.utils.clip_grad_norm_(weights, gradient_clip, foreach=True)
    optimizer.step()
    return loss.detach(), logits.detach()
