"""The search loop of PC-DARTS (Xu et al. 2020, Section 4.1; Liu et al. 2019, Algorithm 1).

One part of the images trains the weights, the other α and β: two equal halves, or two given lists.
Differences from the public reference: halves are stratified by class, and the genotype is the one
after the last update.
"""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from classification.acceleration import Step, replayed
from classification.compilation import compile_modules
from classification.data.loaders import Images, Loader
from classification.data.strata import split_halves
from classification.data.transforms import Augmentation
from classification.distributed import synchronize
from classification.errors import PipelineError
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator, reseed, seeded
from classification.training.schedules import make_sgd, set_learning_rate
from classification.training.step_checkpoints import StepCheckpoints, resume
from classification.training.trainer import to_device
from pcdarts.architect import Architect
from pcdarts.genotype import Genotype, entropy, skip_connections
from pcdarts.pruning import Pruning
from pcdarts.search_config import SearchConfig, SupernetConfig
from pcdarts.search_warnings import search_warnings, share_entropy
from pcdarts.steps import SearchSteps
from pcdarts.supernet import Supernet

_PARTS = ("weight", "architecture")


def search(
    parts: tuple[Images, Images],
    num_classes: int,
    augmentation: Augmentation,
    config: SearchConfig,
    seed: int,
    workspace: Workspace,
    device: torch.device,
    warm_start: State | None = None,
    indices: Sequence[Tensor] | None = None,
) -> Genotype:
    """Search on two parts of a dataset, in memory or in files; the first trains the weights, the
    second α and β (see `halve`). An epoch is one pass over the first part, with as many batches of
    the second.

    `warm_start` is the result of `warm_up`, `model` and `optimizer`: the search starts from it and
    skips its own warm-up epochs.

    With `config.pruning` both parts lose images after some epochs, and `pruning.json` lists those
    that each round kept, as `indices` of the parts' images in the training split (by default their
    places in the parts). With its `warmup_fraction` they are samples until the first round. The
    metrics rows then have the images of both parts in the epoch.

    Resumes from the workspace. Each epoch adds a checkpoint and a metrics row: epoch (from 1),
    warmup, loss in nats and accuracy over the weight part, architecture_loss (None in the warm-up),
    α, β and their entropies in nats, the genotype, its skip connections, warnings. All randomness
    follows from (seed, stream, epoch), so on a CPU a resumed run has the same result, bit for bit.

    All processes of the workspace's world search together: each computes its local batches, with
    the gradients (of weights, α and β) and BatchNorm statistics of the global ones.

    Raises PipelineError when the loss is no longer finite.
    """
    model, world = build_supernet(num_classes, config, seed), workspace.world
    to_device(model, device).train()
    synchronize(model, world)
    if config.compile == "on":  # before the steps are captured
        compile_modules(model.cells, workspace.spent)
    architect = Architect(
        model,
        config.architecture_learning_rate,
        config.architecture_weight_decay,
        config.precision,
        config.architecture_gradient_clip,
    )
    pruning = None
    if config.pruning is not None:
        indices = indices or [torch.arange(len(part)) for part in parts]
        normalization = augmentation.normalization
        pruning = Pruning(
            config.pruning, parts, indices, normalization, num_classes, seed, workspace
        )
    position = resume(workspace)
    if pruning is not None and position.state:
        pruning.load_state(position.state["pruning"])
    used = parts if pruning is None else pruning.parts
    loaders = [part.loader(config.batch_size, device, training=True, world=world) for part in used]
    optimizer = make_weight_optimizer(model, config)
    steps = SearchSteps(architect, optimizer, loaders, augmentation, config.gradient_clip)
    if start := position.state or warm_start:
        steps.load_state(start)

    def state() -> State:
        return steps.state() | ({} if pruning is None else {"pruning": pruning.state()})

    skipped = 0 if warm_start is None else config.warmup_epochs
    checkpoints = StepCheckpoints(
        workspace,
        position,
        config.checkpoint_steps,
        state,
        steps.totals,
        steps.generators,
        first_epoch=skipped,
    )

    def captured() -> list[Step]:
        return replayed(
            [steps.architecture, steps.weights],
            config.cuda_graph if world.alone else "off",
            device,
            steps.generators,
            workspace.log,
        )

    runs = captured()
    schedule, rows = config.make_schedule(), workspace.rows()
    guessing = share_entropy(parts[0].labels)
    for epoch in range(skipped + position.epochs, config.epochs):
        started, done = time.perf_counter(), checkpoints.finished(epoch)
        set_learning_rate(optimizer, config.learning_rate * schedule(epoch))
        metrics = _train_epoch(steps, runs, loaders, config, epoch, seed, checkpoints)
        warmup = epoch < config.warmup_epochs
        row = {"epoch": epoch + 1, "warmup": warmup} | metrics | _describe(model)
        if pruning is not None:
            row["images"] = [loader.num_images for loader in loaders]
        rows.append(row)
        row["warnings"] = search_warnings(rows, guessing)
        images = loaders[0].num_images - done * config.batch_size
        if pruning is not None and pruning.finish_epoch(epoch + 1, model, config):
            loaders[:] = [
                part.loader(config.batch_size, device, training=True, world=world)
                for part in pruning.parts
            ]
            runs = captured()  # a captured step loads from the images that it was captured with
        workspace.save(epoch + 1 - skipped, state(), row)
        rate = images / (time.perf_counter() - started)
        shown = {key: metrics[key] for key in ("loss", "accuracy")}
        total = config.epochs - skipped
        workspace.progress(epoch + 1 - skipped, total, "epoch", **shown, images_per_second=rate)
    if pruning is not None:
        pruning.save()
    return model.genotype()


def build_supernet(num_classes: int, config: SupernetConfig, seed: int) -> Supernet:
    """Build the untrained supernet, its weights, α and β drawn from `seed`."""
    with seeded(seed, "search-weights"):
        generator = make_generator(seed, "search-architecture")
        return Supernet(
            num_classes,
            config.channels,
            config.cells,
            config.partial_channels,
            generator,
            config.network,
        )


def make_weight_optimizer(model: Supernet, config: SupernetConfig) -> torch.optim.Optimizer:
    """Return SGD on all parameters except α and β."""
    return make_sgd(
        model.weight_parameters(), config.learning_rate, config.momentum, config.weight_decay
    )


def halve(images: Images, seed: int) -> tuple[Images, Images]:
    """Split `images` into the two parts of a search by default: see `split_halves`."""
    first, second = halves(images.labels, seed)
    return images.take(first), images.take(second)


def halves(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return the places of the images of both halves."""
    return split_halves(labels, make_generator(seed, "search-halves"))


def _train_epoch(
    steps: SearchSteps,
    runs: Sequence[Step],
    loaders: Sequence[Loader],
    config: SearchConfig,
    epoch: int,
    seed: int,
    checkpoints: StepCheckpoints,
) -> dict[str, Any]:
    """Train the rest of an epoch with `runs`: the steps, captured or not. Returns metrics."""
    workspace, world = checkpoints.workspace, checkpoints.workspace.world
    for part, generator, loader in zip(_PARTS, steps.generators, loaders, strict=True):
        # Local batches are augmented with separate draws, a global batch with the same in all.
        own = [world.rank] if loader.sharded and not world.alone else []
        reseed(generator, seed, f"search-{part}-augmentation", epoch, *own)
    steps.totals.zero_()
    done = checkpoints.restore(epoch)
    step_architecture, step_weights = runs
    held_out = _cycle(loaders[1], seed, epoch, done)
    order = make_generator(seed, "search-weight-order", epoch)
    for number, index in enumerate(loaders[0].index_batches(order, done), done):
        if epoch >= config.warmup_epochs:
            steps.global_batches[1], other = next(held_out)
            step_architecture(*other)
        steps.global_batches[0] = loaders[0].global_batch(number)
        step_weights(*index)
        workspace.progress(number + 1, len(loaders[0]), "step")
        checkpoints.save(epoch, number + 1, len(loaders[0]))
    loss_sum, correct, seen, other_loss_sum, others_seen = world.sum(steps.totals.clone()).tolist()
    if not math.isfinite(loss_sum + other_loss_sum):
        raise PipelineError(
            f"search.learning_rate: the loss is not finite in epoch {epoch + 1} at "
            f"{config.learning_rate}; allowed: a rate at which it stays finite"
        )
    return {
        "loss": loss_sum / seen,
        "accuracy": correct / seen,
        "architecture_loss": other_loss_sum / others_seen if others_seen else None,
    }


def _cycle(
    loader: Loader, seed: int, epoch: int, first: int
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Yield (images over all processes, index) of batches without end, from number `first` on, in a
    new order for each pass."""
    done, skipped = divmod(first, len(loader))
    for turn in itertools.count(done):
        order = make_generator(seed, "search-architecture-order", epoch, turn)
        for number, index in enumerate(loader.index_batches(order, skipped), skipped):
            yield loader.global_batch(number), index
        skipped = 0


def _describe(model: Supernet) -> dict[str, Any]:
    """Return α, β and the genotype they define, as JSON values."""
    genotype = model.genotype()
    alphas = {"normal": model.alphas_normal, "reduce": model.alphas_reduce}
    betas = {"normal": model.betas_normal, "reduce": model.betas_reduce}
    return {
        "alphas": {cell: values.tolist() for cell, values in alphas.items()},
        "betas": {cell: values.tolist() for cell, values in betas.items()},
        "entropy": {cell: entropy(alphas[cell], betas[cell]) for cell in alphas},
        "genotype": genotype.to_dict(),
        "skip_connections": skip_connections(genotype),
    }
