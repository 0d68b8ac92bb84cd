"""The search: PC-DARTS on a set of images (Xu et al. 2020, Section 4.1; Algorithm 1 of DARTS).

One half of the images trains the weights, the other α and β. Differs from the public reference in
that both halves are stratified by class and that the genotype is the one after the last update.
"""

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor

from classification.acceleration import GraphMode, Precision
from classification.checkpoint import State
from classification.cuda_graph import Step, replayed
from classification.errors import ConfigError, PipelineError
from classification.loaders import DeviceLoader, Loader
from classification.schedules import cosine_decay, load_optimizer, make_sgd, set_learning_rate
from classification.seeding import make_generator, reseed, seeded
from classification.trainer import place
from classification.transforms import Augmentation
from classification.workspace import Workspace
from pcdarts.architect import Architect
from pcdarts.genotype import Genotype, entropy, skip_connections
from pcdarts.steps import SearchSteps
from pcdarts.supernet import Supernet

MINIMUM_IMAGE_SIZE = 8  # pixels; two reductions leave 2×2
_COLLAPSED = 4  # skip connections of a normal cell's eight edges; the published cells have 1 to 3
_UNTRAINED = 0.95  # share of ln(classes) above which a loss counts as that of guessing


class SearchConfig(BaseModel, frozen=True, extra="forbid"):
    """How the architecture is searched. Defaults: Xu et al. 2020, CIFAR search."""

    epochs: int = Field(50, gt=0, description="passes over the weight half")
    warmup_epochs: int = Field(15, ge=0, description="first epochs, in which α and β stand still")
    channels: int = Field(16, gt=0, description="of the supernet's first cell")
    cells: int = Field(8, ge=3, description="of the supernet, two of them reductions")
    partial_channels: int = Field(
        4, gt=0, description="K: one channel in K passes through the operations"
    )
    batch_size: int = Field(256, gt=1, description="images, of the weight and architecture steps")
    learning_rate: float = Field(0.1, gt=0, description="of the weights' SGD, cosine to 0")
    momentum: float = Field(0.9, ge=0, lt=1, description="of the weights' SGD")
    weight_decay: float = Field(3e-4, ge=0, description="of the weights' SGD")
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the weights' gradient")
    architecture_learning_rate: float = Field(6e-4, gt=0, description="of Adam on α and β")
    architecture_weight_decay: float = Field(1e-3, ge=0, description="of Adam on α and β")
    precision: Precision = Field(
        "fp32", description="of the supernet's arithmetic; bf16 on a CUDA device alone"
    )
    cuda_graph: GraphMode = Field(
        "auto",
        description="replay the steps as CUDA graphs: where possible, always or never; the result "
        "is the same",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "SearchConfig":
        if self.epochs <= self.warmup_epochs:
            raise ValueError(
                f"epochs must exceed warmup_epochs ({self.warmup_epochs}), got {self.epochs}"
            )
        if self.channels % self.partial_channels:
            raise ValueError(
                f"channels must be a multiple of partial_channels ({self.partial_channels}), "
                f"got {self.channels}"
            )
        return self


def search(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    augmentation: Augmentation,
    config: SearchConfig,
    seed: int,
    workspace: Workspace,
    warm_start: State | None = None,
) -> Genotype:
    """Search on uint8 images [N, 3, H, W] and int64 labels [N], both on the training device.

    `warm_start` is what a warm-up elsewhere left, `model` and `optimizer` (see `warm_up`): the
    search takes it up after its own warm-up's epochs, which it does not train again.

    Resumes from the workspace. After every epoch it gets a checkpoint and a metrics row: epoch
    (from 1), warmup, loss in nats and accuracy over the weight half, architecture_loss (None in
    the warm-up), α, β and their entropies in nats, the genotype, its skip connections, warnings.
    All randomness follows from (seed, purpose, epoch): a resumed run ends bit for bit as an
    uninterrupted one on a CPU.

    Raises PipelineError when the loss is no longer finite.
    """
    model = build_supernet(num_classes, config, seed)
    place(model, images.device).train()
    optimizer = make_weight_optimizer(model, config)
    architect = Architect(
        model,
        config.architecture_learning_rate,
        config.architecture_weight_decay,
        config.precision,
    )
    halves = [
        DeviceLoader(images[half], labels[half], config.batch_size)
        for half in split_halves(labels, make_generator(seed, "search-halves"))
    ]
    skipped = 0 if warm_start is None else config.warmup_epochs
    done, state = workspace.resume()  # epochs of this search, without those skipped
    if not state and warm_start is not None:
        model.load_state_dict(warm_start["model"])
        load_optimizer(optimizer, warm_start["optimizer"])
    if state:
        model.load_state_dict(state["model"])
        load_optimizer(optimizer, state["optimizer"])
        load_optimizer(architect.optimizer, state["architecture_optimizer"])
    steps = SearchSteps(architect, optimizer, halves, augmentation, config.gradient_clip)
    runs = replayed(
        [steps.architecture, steps.weights],
        config.cuda_graph,
        images.device,
        steps.generators,
        workspace.say,
    )
    schedule, rows = cosine_decay(config.epochs), workspace.rows()
    for epoch in range(skipped + done, config.epochs):
        started = time.perf_counter()
        set_learning_rate(optimizer, config.learning_rate * schedule(epoch))
        metrics = _train_epoch(steps, runs, halves, config, epoch, seed, workspace)
        warmup = epoch < config.warmup_epochs
        row = {"epoch": epoch + 1, "warmup": warmup} | metrics | _describe(model)
        rows.append(row)
        row["warnings"] = search_warnings(rows, num_classes)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "architecture_optimizer": architect.optimizer.state_dict(),
        }
        done = epoch + 1 - skipped
        workspace.save(done, state, row)
        rate = halves[0].num_images / (time.perf_counter() - started)
        shown = {key: metrics[key] for key in ("loss", "accuracy")}
        total = config.epochs - skipped
        workspace.progress(done, total, "epoch", **shown, images_per_second=rate)
    return model.genotype()


def build_supernet(num_classes: int, config: SearchConfig, seed: int) -> Supernet:
    """The untrained supernet, its weights and its α and β drawn from `seed`."""
    with seeded(seed, "search-weights"):
        generator = make_generator(seed, "search-architecture")
        return Supernet(
            num_classes, config.channels, config.cells, config.partial_channels, generator
        )


def make_weight_optimizer(model: Supernet, config: SearchConfig) -> torch.optim.Optimizer:
    """SGD on all that is not α or β."""
    return make_sgd(
        model.weight_parameters(), config.learning_rate, config.momentum, config.weight_decay
    )


def split_halves(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shuffled indices of two halves that differ by at most one image, in total and in any class.

    `generator` is a CPU one; the indices lie on the labels' device.
    """
    order = torch.randperm(len(labels), generator=generator)
    # Dealt out in turn, class after class, an odd class hands its spare image to either half.
    dealt = order[labels.cpu()[order].argsort(stable=True)]
    first, second = (
        half[torch.randperm(len(half), generator=generator)].to(labels.device)
        for half in (dealt[::2], dealt[1::2])
    )
    return first, second


def search_warnings(rows: Sequence[Mapping[str, Any]], num_classes: int) -> list[str]:
    """What speaks against trusting the last row's genotype; `rows` are those of `search`.

    Nothing in the warm-up, where a genotype is chance and the loss is still high.
    """
    warnings: list[str] = []
    if not rows or rows[-1]["warmup"]:
        return warnings
    skips, guessing = rows[-1]["skip_connections"]["normal"], math.log(num_classes)
    if skips >= _COLLAPSED:
        warnings.append(
            f"the normal cell collapses to skip connections ({skips} of 8 edges); fewer epochs, "
            "more warm-up or more images may prevent it"
        )
    lowest = min(row["loss"] for row in rows)
    if lowest > _UNTRAINED * guessing:
        warnings.append(
            f"the loss stays at that of guessing (lowest {lowest:.3f}, ln {num_classes} = "
            f"{guessing:.3f}): the supernet learns nothing, so the genotype means nothing"
        )
    return warnings


def check_search(labels: Tensor, config: SearchConfig, image_size: int) -> None:
    """Raise ConfigError, naming the key, if no search can run on these images.

    `labels` [N] are those of the subset; `image_size` is the shorter side in pixels.
    """
    for label, count in enumerate(torch.bincount(labels).tolist()):
        if count < 2:
            raise ConfigError(
                f"subset.fraction: leaves class {label} with {count} image{'s' * (count != 1)}; "
                "each of the two search halves needs one, so allowed: at least 2 a class"
            )
    half = len(labels) // 2
    if config.batch_size > half:
        raise ConfigError(
            f"search.batch_size: {config.batch_size} exceeds a search half of {half} images; "
            f"allowed: at most {half}"
        )
    if image_size < MINIMUM_IMAGE_SIZE:
        raise ConfigError(
            f"data.image_size: {image_size} pixels are too few for the supernet's two reductions; "
            f"allowed: at least {MINIMUM_IMAGE_SIZE}"
        )


def _train_epoch(
    steps: SearchSteps,
    runs: Sequence[Step],
    halves: Sequence[Loader],
    config: SearchConfig,
    epoch: int,
    seed: int,
    workspace: Workspace,
) -> dict[str, Any]:
    """One pass over the weight half by `runs`, which are the steps, captured or not."""
    for half, generator in zip(("weight", "architecture"), steps.generators, strict=True):
        reseed(generator, seed, f"search-{half}-augmentation", epoch)
    steps.totals.zero_()
    step_architecture, step_weights = runs
    held_out = _cycle(halves[1], seed, epoch)
    order = make_generator(seed, "search-weight-order", epoch)
    for step, handle in enumerate(halves[0].handles(order)):
        if epoch >= config.warmup_epochs:
            step_architecture(*next(held_out))
        step_weights(*handle)
        workspace.progress(step + 1, len(halves[0]), "step")
    loss_sum, correct, seen, other_loss_sum, others_seen = steps.totals.tolist()
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


def _cycle(loader: Loader, seed: int, epoch: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches without end, as their handles, in a new order each time round."""
    for turn in itertools.count():
        yield from loader.handles(make_generator(seed, "search-architecture-order", epoch, turn))


def _describe(model: Supernet) -> dict[str, Any]:
    """α, β and what they stand for, as JSON values."""
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
