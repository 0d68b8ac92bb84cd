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
from classification.data.loaders import Loader, batch_images
from classification.distributed import ALONE, World, synchronize
from classification.errors import PipelineError
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator, reseed, seeded
from classification.training.schedules import load_optimizer, set_learning_rate
from classification.training.step import Recipe, TrainingStep, logits_of


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, and the shares of images classified rightly."""

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
) -> None:
    """Train `model` in place, resuming from the workspace's checkpoint if it holds one.

    After every epoch the workspace gets a checkpoint and a metrics row: epoch (from 1), loss and
    accuracy over the epoch's augmented batches, learning rate, and if the epoch is evaluated for
    each name in `evaluations` `<name>_loss`, `<name>_accuracy` and `<name>_top5_accuracy`. All
    randomness follows from (seed, stream, epoch), so on a CPU a resumed run ends bit for bit as
    an uninterrupted one.

    The processes of the workspace's world train together: each on its share of every batch, with
    the gradients and BatchNorm statistics of all, so that the model is the same in all of them and,
    up to rounding, as if one had trained alone.

    Raises PipelineError when the loss is no longer finite.
    """
    world = workspace.world
    synchronize(model, world)
    first, done, state = _resume(workspace, recipe)
    if state:
        model.load_state_dict(state["model"])
        load_optimizer(optimizer, state["optimizer"])
        if recipe.average is not None:
            recipe.average.load_state_dict(state["average"])
    step = TrainingStep(model, optimizer, recipe, world, train.sharded)
    (run,) = replayed(
        [step.run], recipe.cuda_graph, step.totals.device, [step.generator], workspace.log
    )
    told: set[Path] = set()
    for epoch in range(first, recipe.epochs):
        started = time.perf_counter()
        row: dict[str, Any] = {"epoch": epoch + 1}
        position = _Position(epoch, done, state.get("within") if done else None)
        row |= _train_epoch(step, run, train, position, seed, stream, workspace)
        told = _tell_unreadable(train, told, workspace)
        rate = (train.num_images - done * train.batch_size) / (time.perf_counter() - started)
        done = 0
        if not math.isfinite(row["loss"]):
            raise PipelineError(
                f"{stream}.learning_rate: the loss is {row['loss']} in epoch {epoch + 1} at "
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
        workspace.save(epoch + 1, _state_of(step), row)
        shown = {key: row[key] for key in ("loss", "accuracy", "test_accuracy") if key in row}
        workspace.progress(epoch + 1, recipe.epochs, "epoch", **shown, images_per_second=rate)


def epoch_order(seed: int, stream: str, epoch: int) -> torch.Generator:
    """The CPU generator in whose order an epoch (from 0) sees the images."""
    return make_generator(seed, f"{stream}-order", epoch)


@dataclass(frozen=True)
class _Position:
    """An epoch (from 0), its steps that are done, and how things stood after those."""

    epoch: int
    done: int
    within: State | None


def _train_epoch(
    step: TrainingStep,
    run: Step,
    train: Loader,
    position: _Position,
    seed: int,
    stream: str,
    workspace: Workspace,
) -> dict[str, float]:
    """Train on what is left of an epoch by `run`, which is `step.run`, captured or not."""
    recipe, world, epoch, learning_rate = step.recipe, workspace.world, position.epoch, 0.0
    order = epoch_order(seed, stream, epoch)
    # Shares of files are augmented where they are; a whole batch is, alike, in all processes.
    own = [] if world.alone else [world.rank]
    augmentation = own if train.sharded else []
    reseed(step.generator, seed, f"{stream}-augmentation", epoch, *augmentation)
    step.totals.zero_()
    step.model.train()
    if recipe.before_epoch:
        recipe.before_epoch(step.model, epoch)
    device = step.totals.device
    with seeded(seed, f"{stream}-modules", epoch, *own, device=device):
        if position.within is not None:
            step.totals.copy_(position.within["totals"][world.rank])
            _set_randomness(step, position.within["randomness"][world.rank])
        for index, (images, labels) in enumerate(train.epoch(order, position.done), position.done):
            learning_rate = recipe.learning_rate * recipe.schedule(epoch + index / len(train))
            set_learning_rate(step.optimizer, learning_rate)
            step.whole = batch_images(train, index)
            run(images, labels)
            workspace.progress(index + 1, len(train), "step")
            every = recipe.checkpoint_steps
            if every is not None and (index + 1) % every == 0 and index + 1 < len(train):
                within = {
                    "totals": world.gather(step.totals.cpu()),
                    "randomness": world.gather(_randomness(step)),
                }
                workspace.save_part(epoch, index + 1, _state_of(step) | {"within": within})
    loss_sum, correct, images_seen = world.sum(step.totals.clone()).tolist()
    return {
        "loss": loss_sum / images_seen,
        "accuracy": correct / images_seen,
        "learning_rate": learning_rate,
    }


def _tell_unreadable(train: Loader, told: set[Path], workspace: Workspace) -> set[Path]:
    """Name the files that no process could read and that were not named before."""
    found = {path for paths in workspace.world.gather(train.unreadable) for path in paths}
    for path in sorted(found - told):
        workspace.log(f"warning: {path}: unreadable; another image stands in for it")
    return told | found


def _state_of(step: TrainingStep) -> State:
    state = {"model": step.model.state_dict(), "optimizer": step.optimizer.state_dict()}
    average = step.recipe.average
    return state if average is None else state | {"average": average.state_dict()}


def _resume(workspace: Workspace, recipe: Recipe) -> tuple[int, int, State]:
    """(finished epochs, finished steps of the next, state).

    A checkpoint within an epoch holds the randomness of each process, and is of no use to another
    number of them: then the epoch begins anew.
    """
    first, done, state = workspace.resume_part()
    if done and len(state["within"]["randomness"]) != workspace.world.size:
        done, (first, state) = 0, workspace.resume()
    return first, done, state


def _randomness(step: TrainingStep) -> list[Tensor]:
    """States of the generators that an epoch draws from."""
    device = step.totals.device
    states = [step.generator.get_state(), torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_randomness(step: TrainingStep, states: list[Tensor]) -> None:
    step.generator.set_state(states[0])
    torch.set_rng_state(states[1])
    if step.totals.device.type == "cuda":
        torch.cuda.set_rng_state(states[2], step.totals.device)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    normalize: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
    world: World = ALONE,
) -> Evaluation:
    """Loss and accuracy of `model` in eval mode over all of `loader`; its mode is restored.

    The processes of `world` share the batches.
    """
    was_training = model.training
    model.eval()
    totals = torch.zeros(3, device=next(model.parameters()).device)
    for images, labels in loader.epoch():
        if not loader.sharded:
            images, labels = world.share(images), world.share(labels)
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
    """The model in eval mode, and each of its modules as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move `model` to `device`, convolution weights channels_last: the faster form on both kinds.

    Convolutions hand the form on, so inputs need no conversion.
    """
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
