"""How a trained scorer's loss of each training image varies when other images occlude it.

Jeong et al. 2023, Section III-C and Eq. 8. Every image in turn is the anchor: the canvas of M
DCutMix mixes in which it keeps a fixed fraction, while the other fractions, the boxes and the
partners are drawn afresh.
"""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.checkpoint import State, write_atomically
from classification.errors import DataError, PipelineError
from classification.mapped_array import create_array, open_array
from classification.mixing import compose, nest_boxes, sample_fractions, soft_targets
from classification.seeding import make_generator
from classification.trainer import evaluating
from classification.transforms import Normalization
from classification.workspace import Workspace
from classification.world import World

LOSSES = "losses.npy"
_BLOCK = 4096  # mixes whose draws share a generator: the unit of resuming, whatever the batch size
_MAX_WAITING = 64  # blocks whose losses wait on the device at most: 1 MiB
_SAVE_SECONDS = 5.0  # between checkpoints, so that saving costs nothing beside fast scoring

Source = Literal["pass", "training"]
Loss = Literal["ce", "kl", "anchor_ce"]


class ScoresConfig(BaseModel, frozen=True, extra="forbid"):
    """How the training images are scored. The defaults are the paper's, Section III-C."""

    source: Source = Field(
        "pass",
        description="a pass of the trained scorer over mixes (the paper's); or the losses that its "
        "training recorded in its last epochs, one a draw, which cost nothing",
    )
    draws: int = Field(10, ge=2, le=10_000, description="mixes of each image (the paper's M)")
    num_images: int = Field(
        3, ge=2, le=16, description="images in a mix, the anchor included (the paper's K)"
    )
    alpha: float = Field(
        2 / 9, gt=0, le=1000, description="Dirichlet parameter of the other images' fractions"
    )
    anchor_fraction: float = Field(
        5 / 9,
        gt=0,
        lt=1,
        description="share of the pixels the anchor keeps; the paper gives none, 5/9 is its mean "
        "under the published Dirichlet parameters, which sum to 1",
    )
    loss: Loss = Field(
        "ce",
        description="cross-entropy against the mixed label (Eq. 8), that less the mixed label's "
        "entropy, or against the anchor's label alone, in nats",
    )
    common_draws: bool = Field(
        False, description="give every anchor the same fractions, boxes and partners in draw m"
    )
    cv_floor: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="nats added to the mean in the coefficient of variation's denominator; none "
        "stands for 0.5 under anchor_ce, whose mean may vanish, and 0 otherwise",
    )
    precision: Precision = Field(
        "fp32", description="of the forward pass's arithmetic; bf16 on a CUDA device alone"
    )
    batch_size: int = Field(1024, gt=0, description="mixed images a forward pass")

    @field_validator("loss", "common_draws")
    @classmethod
    def _recorded(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        if info.data.get("source") == "training" and value in ("anchor_ce", True):
            allowed = "false" if value is True else "ce, kl"
            raise ValueError(
                f"no training records such losses; allowed: {allowed} with source training"
            )
        return value

    @property
    def floor(self) -> float:
        """Nats added to the mean loss in the coefficient of variation's denominator."""
        if self.cv_floor is not None:
            return self.cv_floor
        return 0.5 if self.loss == "anchor_ce" else 0.0


@dataclass(frozen=True)
class Scores:
    """Over each image's M losses: mean and standard deviation in nats, and std / mean; all [N]."""

    mean: np.ndarray
    std: np.ndarray
    cv: np.ndarray


@dataclass(frozen=True)
class Mixes:
    """M mixes of each of A anchors, not yet made.

    `sources` int64 [A, M, K] are rows of the training set, the anchor first; `owners` uint8
    [A, M, H, W] are positions in `sources`; `weights` float32 [A, M, K] are shares of the pixels.
    """

    sources: Tensor
    owners: Tensor
    weights: Tensor

    def split(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(sources, owners, weights) of at most `size` mixes at a time, anchor by anchor."""
        parts = (self.sources, self.owners, self.weights)
        return zip(*(part.flatten(0, 1).split(size) for part in parts), strict=True)


def measure_losses(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    normalization: Normalization,
    config: ScoresConfig,
    seed: int,
    workspace: Workspace,
) -> np.ndarray:
    """Loss of every training image under M random occlusions (Eq. 8), float32 [N, M], nats.

    `images` uint8 [N, C, H, W] and `labels` int64 [N] lie on the model's device. The model scores
    in eval mode, which is undone after. The losses are streamed into the workspace's `losses.npy`
    and returned mapped from it, so memory does not grow with N; work that was cut off goes on from
    its last checkpoint and leaves the same bytes. The draws follow from `seed`, not from
    `config.batch_size`. Processes of the workspace's world take blocks in turn; the first one's
    workspace gets all losses, and the others return what they have of them.

    Raises DataError if there are fewer than two images, PipelineError if a loss is not finite.
    """
    num_anchors, world = len(images), workspace.world
    if num_anchors < 2:
        raise DataError(f"scores: {num_anchors} training images; allowed: at least 2, to be mixed")
    size = max(1, _BLOCK // config.draws)  # anchors a block
    blocks = math.ceil(num_anchors / size)
    settings = config.model_dump(mode="json", exclude={"batch_size", "source"})
    identity = {"config": settings, "seed": seed}
    stored, first = _open(workspace, (num_anchors, config.draws), identity)
    waiting: list[Tensor] = []  # on the device, so that a block need not wait for its losses
    begun = saved = time.monotonic()
    with evaluating(model):
        for turn in range(first, blocks, world.size):
            block, done = turn + world.rank, min(turn + world.size, blocks)
            if block < blocks:
                start, end = block * size, min((block + 1) * size, num_anchors)
                anchors = torch.arange(start, end, device=images.device)
                mixes = draw_mixes(anchors, images, config, seed, block)
                scored = _score(model, images, labels, num_classes, normalization, config, mixes)
                waiting.append(scored)
            now, end = time.monotonic(), min(done * size, num_anchors)
            full = len(waiting) * world.size >= _MAX_WAITING or now - saved >= _SAVE_SECONDS
            if done == blocks or world.from_first(partial(bool, full)):
                _store(stored, end, waiting, world)
                workspace.save(done, identity)
                saved = now
            rate = (end - first * size) * config.draws / max(now - begun, 1e-9)
            workspace.progress(end, num_anchors, "image", images_per_second=rate)
    if stored is None:
        return np.empty((0, config.draws), np.float32)
    return np.load(workspace.path(LOSSES), mmap_mode="r")


def draw_mixes(
    anchors: Tensor, images: Tensor, config: ScoresConfig, seed: int, block: int
) -> Mixes:
    """The M mixes of `anchors` int64 [A], rows of `images` [N, C, H, W]; nothing is mixed yet.

    Fractions are `anchor_fraction`, then (1 - anchor_fraction) · Dir(α, …, α). Partners are
    uniform over the whole set without the anchor. Under common draws, a partner that happens to be
    the anchor gives way to a spare, itself drawn once for all anchors.
    """
    common, device = config.common_draws, images.device
    generator = make_generator(seed, "scores", *([] if common else [block]), device=device)
    num_images, (height, width) = len(images), images.shape[-2:]
    shape = (1 if common else len(anchors), config.draws, config.num_images - 1)

    others = sample_fractions(config.alpha, shape, generator, device)
    kept = others.new_full((*shape[:2], 1), config.anchor_fraction)
    fractions = torch.cat([kept, (1 - config.anchor_fraction) * others], -1)
    boxes = nest_boxes(fractions, height, width, generator)

    canvas = anchors[:, None, None].expand(-1, config.draws, 1)
    if common:
        shared = torch.randint(num_images, shape, generator=generator, device=device)
        spare = _draw_other(shared, num_images, generator)
        partners = torch.where(shared == canvas, spare, shared)
    else:
        partners = _draw_other(canvas.expand(shape), num_images, generator)
    return Mixes(
        torch.cat([canvas, partners], -1),
        boxes.owners().expand(len(anchors), -1, -1, -1),
        boxes.weights().expand(len(anchors), -1, -1),
    )


def mixed_losses(
    logits: Tensor, labels: Tensor, weights: Tensor, num_classes: int, loss: Loss
) -> Tensor:
    """Losses float32 [B] in nats of `logits` [B, L] for mixes of `labels` int64 [B, K], anchor
    first, with label weights `weights` float32 [B, K].
    """
    surprise = -logits.float().log_softmax(1).gather(1, labels)  # [B, K]
    if loss == "anchor_ce":
        return surprise[:, 0]
    cross_entropy = (weights * surprise).sum(1)
    if loss == "ce":
        return cross_entropy
    targets = soft_targets(labels, weights, num_classes)
    entropy = -torch.special.xlogy(targets, targets).sum(1)
    return (cross_entropy - entropy).clamp_min(0)  # rounding alone can make it negative


def summarise(losses: np.ndarray, config: ScoresConfig) -> Scores:
    """Mean, standard deviation and coefficient of variation of `losses` [N, M], in float64.

    The deviation divides by M - 1, since the draws are a sample of all mixes; the ranking would be
    the same with M. Where mean and floor are both 0, so is the coefficient.
    """
    losses = np.asarray(losses, np.float64)
    mean, std = losses.mean(1), losses.std(1, ddof=1)
    level = mean + config.floor
    cv = np.divide(std, level, out=np.zeros_like(std), where=level > 0)
    return Scores(mean, std, cv)


def write_scores_csv(path: Path, labels: np.ndarray, scores: Scores) -> None:
    """Write index, label, mean, std, cv of every image, with all digits of the floats."""
    columns = (labels, scores.mean, scores.std, scores.cv)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [
        f"{i},{label},{mean!r},{std!r},{cv!r}" for i, (label, mean, std, cv) in enumerate(rows)
    ]
    write_atomically(path, "\n".join(["index,label,mean,std,cv", *lines]) + "\n")


@torch.inference_mode()
def _score(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    normalization: Normalization,
    config: ScoresConfig,
    mixes: Mixes,
) -> Tensor:
    """The losses of all mixes, float32 [A, M], still on the device."""
    losses = []
    for sources, owners, weights in mixes.split(config.batch_size):
        with autocast(config.precision, images.device):
            logits = model(normalization(compose(images, sources, owners)))
        losses.append(mixed_losses(logits, labels[sources], weights, num_classes, config.loss))
    return torch.cat(losses).view(mixes.sources.shape[:2])


def _store(stored: np.memmap | None, end: int, waiting: list[Tensor], world: World) -> None:
    """Move the losses that wait into the rows before `end`; on disk when this returns.

    Of several processes the first stores those of all, whose blocks followed one another in turn.
    """
    parts = world.gather([losses.cpu() for losses in waiting])
    waiting.clear()
    turns = itertools.zip_longest(*parts)
    losses = torch.cat([part for turn in turns for part in turn if part is not None]).numpy()
    start = end - len(losses)
    if not np.isfinite(losses).all():
        raise PipelineError(
            f"scores: the scorer's loss is not finite among images {start} to {end - 1}; "
            "allowed: a scorer whose training did not diverge"
        )
    if stored is not None:
        stored[start:end] = losses
        stored.flush()  # before the checkpoint that vouches for it


def _draw_other(index: Tensor, num_images: int, generator: torch.Generator) -> Tensor:
    """For every entry of `index` a row of the training set other than it, uniformly."""
    row = torch.randint(num_images - 1, index.shape, generator=generator, device=index.device)
    return row + (row >= index)  # the rows from `index` on move up by one


def _open(
    workspace: Workspace, shape: tuple[int, int], identity: State
) -> tuple[np.memmap | None, int]:
    """The file of losses, in the first process alone, and how many of its blocks are whole.

    Blocks beyond those may hold anything: they are measured again, with the same result.
    """
    path, world = workspace.path(LOSSES), workspace.world
    done, state = workspace.resume()
    standing = open_array(path, shape) if world.is_first and done and state == identity else None
    done = world.from_first(lambda: done if standing is not None else 0)
    if not world.is_first or standing is not None:
        return standing, done
    workspace.discard_checkpoints()
    return create_array(path, shape), 0
