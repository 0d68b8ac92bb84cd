"""One training step: augment, mix, forward, backward, update; in one or several processes."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from classification.acceleration import GraphMode, Precision, autocast
from classification.distributed import ALONE, World
from classification.training.schedules import Schedule

Prepare = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Objective = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: what becomes of a batch, the loss, the optimizer's course.

    `prepare` turns (uint8 images, labels, generator) into (inputs, targets); `objective` turns
    (model output, targets) into a scalar, the mean over the images; `before_epoch` sets what
    follows the epoch, such as path dropout: a captured step would not notice it, so `cuda_graph`
    is off unless asked for; `after_epoch` is called before an epoch (from 0) gets its checkpoint.
    Every `test_every`-th epoch is evaluated, and the last.

    A device takes at most `device_batch_size` images at once: larger shares are cut in parts whose
    gradients add up, so that the step is that of the whole batch; BatchNorm sees one part at a
    time. `average` follows the weights after every step. Within an epoch every
    `checkpoint_steps`-th step gets a checkpoint too.
    """

    epochs: int
    learning_rate: float
    schedule: Schedule
    prepare: Prepare
    objective: Objective
    gradient_clip: float | None = None
    before_epoch: Callable[[nn.Module, int], None] | None = None
    after_epoch: Callable[[int], None] | None = None
    test_every: int = 1
    precision: Precision = "fp32"
    cuda_graph: GraphMode = "off"
    device_batch_size: int | None = None
    average: AveragedModel | None = None
    checkpoint_steps: int | None = None


class TrainingStep:
    """One training step, augmentation and mixing included, so that it can be captured.

    What it adds up stays on the device, in `totals`; it draws from `generator`. In a world of
    several processes each works on its share of a batch of `whole` images, and the gradients are
    those of all. `sharded` batches come as shares already.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        world: World = ALONE,
        sharded: bool = False,
    ) -> None:
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        self._world, self._sharded = world, sharded
        device = next(model.parameters()).device
        self.generator = torch.Generator(device)
        self.totals = torch.zeros(3, device=device)  # loss, correct, images; read once an epoch
        self.whole = 0  # images of the batch over all processes; of no use alone
        # The gradients' common mean. Statistics of BatchNorm are common by themselves.
        self._parallel = (
            model
            if world.alone
            else DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )
        )

    def run(self, images: Tensor, labels: Tensor) -> None:
        """A step on uint8 images [B, 3, H, W] and their labels [B]."""
        inputs, targets = self.recipe.prepare(images, labels, self.generator)
        if not self._sharded:
            inputs, targets = self._world.share(inputs), self._world.share(targets)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._parts(inputs, targets)
        for index, (part, part_targets) in enumerate(parts):
            with self._joining(last=index + 1 == len(parts)):
                with autocast(self.recipe.precision, inputs.device):
                    output = self._parallel(part)
                    loss = self.recipe.objective(output, part_targets)
                weight = self._weight(len(part), len(inputs))
                (loss if weight == 1 else loss * weight).backward()
            self.totals += count(loss.detach(), logits_of(output).detach(), part_targets)
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        if self.recipe.average is not None:
            self.recipe.average.update_parameters(self.model)

    def _parts(self, inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What a device computes at once: as many parts in all processes, none without images."""
        limit, size = self.recipe.device_batch_size, self._world.size
        if limit is None:
            return [(inputs, targets)]
        whole = len(inputs) if self._world.alone else self.whole
        number = max(1, min(math.ceil(math.ceil(whole / size) / limit), whole // size))
        return list(zip(inputs.tensor_split(number), targets.tensor_split(number), strict=True))

    def _joining(self, last: bool) -> AbstractContextManager[None]:
        """Gradients wait for those of the last part before they are joined with the others'."""
        if last or not isinstance(self._parallel, DistributedDataParallel):
            return nullcontext()
        return self._parallel.no_sync()

    def _weight(self, part: int, share: int) -> float:
        """Of the mean loss of `part` images in the batch's mean, which DDP divides by the world."""
        return part / share if self._world.alone else part * self._world.size / self.whole


def count(loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """What a step adds to the epoch's totals: summed loss, images classified rightly, images."""
    labels = targets.argmax(1) if targets.ndim == 2 else targets
    correct = (logits.argmax(1) == labels).sum()
    images = torch.full_like(loss, len(logits))
    return torch.stack([loss * len(logits), correct.to(loss), images])


def logits_of(output: Any) -> Tensor:
    """The main logits of a model's output, which may be (logits, auxiliary logits)."""
    return output[0] if isinstance(output, tuple) else output
