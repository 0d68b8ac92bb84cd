"""One training step: augment, mix, forward, backward, update; in one or several processes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from classification.acceleration import GraphMode, Precision, autocast
from classification.data.loaders import Loader
from classification.data.transforms import Augmentation
from classification.mixing import Mixer
from classification.persistence.checkpoint import State
from classification.training.schedules import Schedule, load_optimizer

Prepare = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Objective = Callable[[Any, Tensor], Tensor]


class Record(Protocol):
    """What a training notes, and takes up again from a checkpoint."""

    def state(self) -> State: ...

    def load_state(self, state: State) -> None: ...


class AugmentAndMix:
    """Augment a batch, then mix it: the `prepare` of a training recipe."""

    def __init__(self, augmentation: Augmentation, mixer: Mixer | None) -> None:
        self.augmentation, self.mixer = augmentation, mixer

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(uint8 images, labels) to (normalised float images, labels or soft targets)."""
        inputs = self.augmentation(images, generator)
        return self.mixer(inputs, labels, generator) if self.mixer else (inputs, labels)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: how a batch is prepared, the loss, the learning rate.

    `prepare` turns (uint8 images, labels, generator) into (inputs, targets); `objective` turns
    (model output, targets) into a scalar, the mean over the images; `before_epoch` sets what
    depends on the epoch, such as path dropout: a captured step would not notice it, so `cuda_graph`
    is off by default; `after_epoch` is called before the checkpoint of an epoch (from 0). Every
    `test_every`-th epoch and the last are evaluated.

    A device processes at most `device_batch_size` images at once: a larger local batch is split
    into parts whose gradients are summed; BatchNorm sees one part at a time. `average` is updated
    after every step. Every `checkpoint_steps`-th step of an epoch also saves a checkpoint.
    Checkpoints hold the state of `record` too.
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
    record: Record | None = None


class TrainingStep:
    """One step on a batch of `loader`, including loading and augmentation, so it can be captured.

    Its sums stay on the device, in `totals`; random draws use `generator`. Each process computes
    its local batch, with the gradients summed over all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        loader: Loader,
    ) -> None:
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        self._loader, self._world = loader, loader.world
        device = next(model.parameters()).device
        self.generator = torch.Generator(device)
        self.totals = torch.zeros(3, device=device)  # loss, correct, images; read once an epoch
        self.global_batch = 0  # images of the batch over all processes; not needed alone

    def run(self, *index: Tensor) -> None:
        """Train on the loader's batch `index`."""
        images, labels = self._loader.load(*index)
        inputs, targets = self.recipe.prepare(images, labels, self.generator)
        if not self._loader.sharded:
            inputs, targets = self._world.local_batch(inputs), self._world.local_batch(targets)
        global_batch = len(inputs) if self._world.alone else self.global_batch
        self.optimizer.zero_grad(set_to_none=True)
        for part, part_targets in self._parts(inputs, targets, global_batch):
            with autocast(self.recipe.precision, inputs.device):
                output = self.model(part)
                loss = self.recipe.objective(output, part_targets)
            part_of_mean(loss, len(part), global_batch).backward()
            self.totals += count(loss.detach(), logits_of(output).detach(), part_targets)
        self._world.sum_gradients(self.model.parameters())
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        if self.recipe.average is not None:
            self.recipe.average.update_parameters(self.model)

    def state(self) -> State:
        """Return the state to save: model, optimizer and, if there are, average and record."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        average, record = self.recipe.average, self.recipe.record
        if average is not None:
            state["average"] = average.state_dict()
        if record is not None:
            state["record"] = record.state()
        return state

    def load_state(self, state: State) -> None:
        """Restore what `state` returned."""
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        if self.recipe.average is not None:
            self.recipe.average.load_state_dict(state["average"])
        if self.recipe.record is not None:
            self.recipe.record.load_state(state["record"])

    def _parts(
        self, inputs: Tensor, targets: Tensor, global_batch: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Split a local batch for the device: equally many parts in all processes, none empty.

        BatchNorm has no statistics of one image, so that a part never holds a single image over
        all processes: with a limit of 2, an odd batch has one part of 3.
        """
        limit, size = self.recipe.device_batch_size, self._world.size
        if limit is None:
            return [(inputs, targets)]
        largest = math.ceil(global_batch / size)
        number = max(1, min(math.ceil(largest / limit), global_batch // max(size, 2)))
        return list(zip(inputs.tensor_split(number), targets.tensor_split(number), strict=True))


def part_of_mean(loss: Tensor, images: int, global_batch: int) -> Tensor:
    """Scale the mean `loss` of `images` images to their part of the global batch's mean loss."""
    return loss if images == global_batch else loss * (images / global_batch)


def count(loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Return a step's part of the epoch's totals: summed loss, correct images, images."""
    labels = targets.argmax(1) if targets.ndim == 2 else targets
    correct = (logits.argmax(1) == labels).sum()
    images = torch.full_like(loss, len(logits))
    return torch.stack([loss * len(logits), correct.to(loss), images])


def logits_of(output: Any) -> Tensor:
    """Return the main logits of an output, which may be (logits, auxiliary logits)."""
    return output[0] if isinstance(output, tuple) else output
