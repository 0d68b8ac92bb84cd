"""The training loop of all classifiers and networks, and their evaluation."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import Precision, Step, autocast, replayed
from classification.data.loaders import Loader
from classification.distributed import synchronize
from classification.errors import PipelineError
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator, reseed, seeded
from classification.training.schedules import set_learning_rate
from classification.training.step import Recipe, TrainingStep, logits_of
from classification.training.step_checkpoints import StepCheckpoints, module_generators, resume


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, and the fractions of images classified correctly."""

    loss: float
    top1_accuracy: float
    top5_accuracy: float


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Loader,
    recipe: Recipe,
    evaluations: Mapping[str, Callable[[], Evaluation]],
    *,
    seed: int,
    stream: str,
    workspace: Workspace,
    section: str | None = None,
) -> None:
    """Train `model` in place, resuming from the workspace's checkpoint if it holds one.

    After every epoch the workspace gets a checkpoint and a metrics row: epoch (from 1), loss and
    accuracy over the epoch's augmented batches, learning rate and, if it is evaluated, for
    each name in `evaluations` `<name>_loss`, `<name>_accuracy` and `<name>_top5_accuracy`. All
    randomness follows from (seed, stream, epoch), so on a CPU a resumed run has the same
    result, bit for bit, as an uninterrupted one.

    The processes of the workspace's world train together: each computes its local batch, with the
    gradients and BatchNorm statistics of the global one, so that the model is the same in all of
    them and, up to rounding, the same as that of one process.

    Raises PipelineError when the loss is no longer finite; it names the learning rate in `section`,
    the config's dotted key of these settings, by default `stream`.
    """
    synchronize(model, workspace.world)
    step = TrainingStep(model, optimizer, recipe, train)
    position, device = resume(workspace), step.totals.device
    if position.state:
        step.load_state(position.state)
    generators = [step.generator, *module_generators(device)]
    checkpoints = StepCheckpoints(
        workspace, position, recipe.checkpoint_steps, step.state, step.totals, generators
    )
    (run,) = replayed([step.run], recipe.cuda_graph, device, [step.generator], workspace.log)
    named: set[Path] = set()
    for epoch in range(position.epochs, recipe.epochs):
        started, done = time.perf_counter(), checkpoints.finished(epoch)
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= _train_epoch(step, run, train, epoch, seed, stream, checkpoints)
        named = _name_unreadable(train, named, workspace)
        rate = (train.num_images - done * train.batch_size) / (time.perf_counter() - started)
        if not math.isfinite(row["loss"]):
            raise PipelineError(
                f"{section or stream}.learning_rate: the loss is {row['loss']} in epoch "
                f"{epoch + 1} at {recipe.learning_rate}; allowed: a rate at which it stays finite"
            )
        tested = (epoch + 1) % recipe.test_every == 0 or epoch + 1 == recipe.epochs
        for name, evaluation in evaluations.items() if tested else ():
            result = evaluation()
            row[f"{name}_loss"] = result.loss
            row[f"{name}_accuracy"] = result.top1_accuracy
            row[f"{name}_top5_accuracy"] = result.top5_accuracy
        if recipe.after_epoch:
            recipe.after_epoch(epoch)
        workspace.save(epoch + 1, step.state(), row)
        shown = {key: row[key] for key in ("loss", "accuracy", "test_accuracy") if key in row}
        workspace.progress(epoch + 1, recipe.epochs, "epoch", **shown, images_per_second=rate)


def epoch_order(seed: int, stream: str, epoch: int) -> torch.Generator:
    """Return the CPU generator of the image order of an epoch (from 0)."""
    return make_generator(seed, f"{stream}-order", epoch)


def _train_epoch(
    step: TrainingStep,
    run: Step,
    train: Loader,
    epoch: int,
    seed: int,
    stream: str,
    checkpoints: StepCheckpoints,
) -> dict[str, float]:
    """Train on the rest of an epoch with `run`: `step.run`, captured or not."""
    recipe, workspace, learning_rate = step.recipe, checkpoints.workspace, 0.0
    world, device = workspace.world, step.totals.device
    order = epoch_order(seed, stream, epoch)
    # Local batches are augmented with separate draws, a global batch with the same in all.
    own = [] if world.alone else [world.rank]
    augmentation = own if train.sharded else []
    reseed(step.generator, seed, f"{stream}-augmentation", epoch, *augmentation)
    step.totals.zero_()
    step.model.train()
    if recipe.before_epoch:
        recipe.before_epoch(step.model, epoch)
    with seeded(seed, f"{stream}-modules", epoch, *own, device=device):
        done = checkpoints.restore(epoch)
        for number, index in enumerate(train.index_batches(order, done), done):
            learning_rate = recipe.learning_rate * recipe.schedule(epoch + number / len(train))
            set_learning_rate(step.optimizer, learning_rate)
            step.global_batch = train.global_batch(number)
            run(*index)
            workspace.progress(number + 1, len(train), "step")
            checkpoints.save(epoch, number + 1, len(train))
    loss_sum, correct, images_seen = world.sum(step.totals.clone()).tolist()
    return {
        "loss": loss_sum / images_seen,
        "accuracy": correct / images_seen,
        "learning_rate": learning_rate,
    }


def _name_unreadable(train: Loader, named: set[Path], workspace: Workspace) -> set[Path]:
    """Warn about unreadable files not yet in `named`; returns it with them added."""
    lists = workspace.world.all_gather(train.unreadable)
    found = {path for paths in lists for path in paths}
    for path in sorted(found - named):
        workspace.log(f"warning: {path}: unreadable; replaced by another image")
    return named | found


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    normalize: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
) -> Evaluation:
    """Loss and accuracy of `model` in eval mode over all of `loader`; its mode is restored.

    Each process computes its local batches; the result is that of all images.
    """
    was_training = model.training
    model.eval()
    totals = torch.zeros(3, device=next(model.parameters()).device)
    world = loader.world
    for images, labels in loader.batches():
        if not loader.sharded:
            images, labels = world.local_batch(images), world.local_batch(labels)
        with autocast(precision, images.device):
            logits = logits_of(model(normalize(images))).float()
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        totals += torch.stack([loss, ranked[:, 0].sum(), ranked.sum()])
    model.train(was_training)
    if loader.num_images == 0:
        raise PipelineError("evaluation: the loader holds no images; at least one is needed")
    loss_sum, top1, top5 = world.sum(totals).tolist()
    return Evaluation(
        loss_sum / loader.num_images, top1 / loader.num_images, top5 / loader.num_images
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set the model to eval mode in the block, and restore the mode of each module after it."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move `model` to `device`, convolution weights channels_last: faster on CPU and GPU.

    Convolutions keep the format of their weights, so inputs need no conversion.
    """
    return model.to(device).to(memory_format=torch.channels_last)
