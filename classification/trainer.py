"""The one training loop, and evaluation."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import GraphMode, Precision, autocast
from classification.cuda_graph import Step, replayed
from classification.errors import PipelineError
from classification.loaders import Loader
from classification.schedules import Schedule, load_optimizer, set_learning_rate
from classification.seeding import make_generator, reseed, seeded
from classification.workspace import Workspace

Prepare = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Objective = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, and the shares of images classified rightly."""

    loss: float
    top1_accuracy: float
    top5_accuracy: float


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: what becomes of a batch, the loss, the optimizer's course.

    `prepare` turns (uint8 images, labels, generator) into (inputs, targets); `objective` turns
    (model output, targets) into a scalar; `before_epoch` sets what follows the epoch, such as
    path dropout: a captured step would not notice it, so `cuda_graph` is off unless asked for;
    `after_epoch` is called before an epoch (from 0) gets its checkpoint. Every `test_every`-th
    epoch is evaluated, and the last.
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


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Loader,
    recipe: Recipe,
    evaluations: Mapping[str, Callable[[], Evaluation]],
    *,
    seed: int,
    purpose: str,
    workspace: Workspace,
) -> None:
    """Train `model` in place, resuming from the workspace's checkpoint if it holds one.

    After every epoch the workspace gets a checkpoint and a metrics row: epoch (from 1), loss and
    accuracy over the epoch's augmented batches, learning rate, and if the epoch is evaluated for
    each name in `evaluations` `<name>_loss`, `<name>_accuracy` and `<name>_top5_accuracy`. All
    randomness follows from (seed, purpose, epoch), so on a CPU a resumed run ends bit for bit as
    an uninterrupted one.

    Raises PipelineError when the loss is no longer finite.
    """
    first, state = workspace.resume()
    if state:
        model.load_state_dict(state["model"])
        load_optimizer(optimizer, state["optimizer"])
    step = TrainingStep(model, optimizer, recipe)
    (run,) = replayed(
        [step.run], recipe.cuda_graph, step.totals.device, [step.generator], workspace.say
    )
    for epoch in range(first, recipe.epochs):
        started = time.perf_counter()
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= _train_epoch(step, run, train, epoch, seed, purpose, workspace)
        rate = train.num_images / (time.perf_counter() - started)
        if not math.isfinite(row["loss"]):
            raise PipelineError(
                f"{purpose}.learning_rate: the loss is {row['loss']} in epoch {epoch + 1} at "
                f"{recipe.learning_rate}; allowed: a rate at which it stays finite"
            )
        tested = (epoch + 1) % recipe.test_every == 0 or epoch + 1 == recipe.epochs
        for name, evaluation in evaluations.items() if tested else ():
            result = evaluation()
            row[f"{name}_loss"] = result.loss
            row[f"{name}_accuracy"] = result.top1_accuracy
            row[f"{name}_top5_accuracy"] = result.top5_accuracy
        if recipe.after_epoch:
            recipe.after_epoch(epoch)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        workspace.save(epoch + 1, state, row)
        shown = {key: row[key] for key in ("loss", "accuracy", "test_accuracy") if key in row}
        workspace.progress(epoch + 1, recipe.epochs, "epoch", **shown, images_per_second=rate)


def epoch_order(seed: int, purpose: str, epoch: int) -> torch.Generator:
    """The CPU generator in whose order an epoch (from 0) sees the images."""
    return make_generator(seed, f"{purpose}-order", epoch)


class TrainingStep:
    """A step on a batch, augmentation and mixing included, so that it can be captured.

    What it adds up stays on the device, in `totals`; it draws from `generator`.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe) -> None:
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        device = next(model.parameters()).device
        self.generator = torch.Generator(device)
        self.totals = torch.zeros(3, device=device)  # loss, correct, images; read once an epoch

    def run(self, images: Tensor, labels: Tensor) -> None:
        """A step on uint8 images [B, 3, H, W] and their labels [B]."""
        inputs, targets = self.recipe.prepare(images, labels, self.generator)
        with autocast(self.recipe.precision, inputs.device):
            output = self.model(inputs)
            loss = self.recipe.objective(output, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        self.totals += _count(loss.detach(), logits_of(output).detach(), targets)


def _train_epoch(
    step: TrainingStep,
    run: Step,
    train: Loader,
    epoch: int,
    seed: int,
    purpose: str,
    workspace: Workspace,
) -> dict[str, float]:
    """Train on all of `train` by `run`, which is `step.run`, captured or not."""
    recipe, learning_rate = step.recipe, 0.0
    order = epoch_order(seed, purpose, epoch)
    reseed(step.generator, seed, f"{purpose}-augmentation", epoch)
    step.totals.zero_()
    step.model.train()
    if recipe.before_epoch:
        recipe.before_epoch(step.model, epoch)
    with seeded(seed, f"{purpose}-modules", epoch, device=step.totals.device):
        for index, (images, labels) in enumerate(train.epoch(order)):
            learning_rate = recipe.learning_rate * recipe.schedule(epoch + index / len(train))
            set_learning_rate(step.optimizer, learning_rate)
            run(images, labels)
            workspace.progress(index + 1, len(train), "step")
    loss_sum, correct, images_seen = step.totals.tolist()
    return {
        "loss": loss_sum / images_seen,
        "accuracy": correct / images_seen,
        "learning_rate": learning_rate,
    }


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    normalize: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
) -> Evaluation:
    """Loss and accuracy of `model` in eval mode over all of `loader`; its mode is restored."""
    was_training = model.training
    model.eval()
    totals: Tensor | None = None
    for images, labels in loader.epoch():
        with autocast(precision, images.device):
            logits = logits_of(model(normalize(images))).float()
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        counts = torch.stack([loss, ranked[:, 0].sum(), ranked.sum()])
        totals = counts if totals is None else totals + counts
    model.train(was_training)
    if totals is None:
        raise PipelineError("evaluation: the loader holds no images; at least one is needed")
    loss_sum, top1, top5 = totals.tolist()
    return Evaluation(
        loss_sum / loader.num_images, top1 / loader.num_images, top5 / loader.num_images
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, and each of its modules as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move `model` to `device`, convolution weights channels_last: the faster form on both kinds.

    Convolutions hand the form on, so inputs need no conversion.
    """
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def logits_of(output: Any) -> Tensor:
    """The main logits of a model's output, which may be (logits, auxiliary logits)."""
    return output[0] if isinstance(output, tuple) else output


def _count(loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    labels = targets.argmax(1) if targets.ndim == 2 else targets
    correct = (logits.argmax(1) == labels).sum()
    images = torch.full_like(loss, len(logits))
    return torch.stack([loss * len(logits), correct.to(loss), images])
