"""Losses of every image (the anchor) under M random mixes, and their mean, std and CV.

Jeong et al. 2023, Section III-C and Eq. 8: M mixes of each image, and the loss of each mix.
"""

import hashlib
import itertools
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from classification.acceleration import autocast
from classification.data.transforms import Normalization
from classification.errors import DataError, PipelineError
from classification.mixing import soft_targets
from classification.persistence.arrays import create_array, open_array, read_array
from classification.persistence.checkpoint import State
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import Workspace
from classification.settings import effective_settings
from classification.training.trainer import evaluating
from classification.world import World
from subsample.config import Loss, LossesConfig, ScoresConfig
from subsample.mixes import Mixes, compose_mixes, draw_mixes

LOSSES = "losses.npy"
_BLOCK = 4096  # mixes whose draws share a generator: the unit of resuming, whatever the batch size
_MAX_WAITING = 64  # blocks whose losses wait on the device at most: 1 MiB
_SAVE_SECONDS = 5.0  # between checkpoints, so that saving is cheap compared with scoring


@dataclass(frozen=True)
class Scores:
    """Over each image's M losses: mean and standard deviation in nats, and std / mean; all [N]."""

    mean: np.ndarray
    std: np.ndarray
    cv: np.ndarray


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
    """Return the loss of each training image under M random occlusions (Eq. 8), float32 [N, M].

    Losses are in nats. `images` uint8 [N, C, H, W] and `labels` int64 [N] are on the model's
    device. The model scores in eval mode; its mode is restored. The losses are streamed into the
    workspace's `losses.npy` and returned memory-mapped, so memory does not grow with N; interrupted
    work resumes from its last checkpoint with the same bytes. The draws depend on `seed`, not on
    `config.batch_size`. Processes of the workspace's world take blocks in turn; the first one
    writes and returns all losses, the others return an empty array.

    Raises DataError if there are fewer than two images, PipelineError if a loss is not finite.
    """
    num_anchors, world = len(images), workspace.world
    check_anchors(num_anchors)
    size = anchors_in_block(config)
    blocks = math.ceil(num_anchors / size)
    identity = {"config": effective_settings(config), "seed": seed}
    stored, first, digest = _open(workspace, (num_anchors, config.draws), identity, size)
    waiting: list[Tensor] = []  # on the device, so that a block need not wait for its losses
    begun = saved = time.monotonic()
    with evaluating(model):
        for turn in range(first, blocks, world.size):
            block, done = turn + world.rank, min(turn + world.size, blocks)
            if block < blocks:
                start, end = block * size, min((block + 1) * size, num_anchors)
                anchors = torch.arange(start, end, device=images.device)
                mixes = draw_mixes(anchors, images, config, seed, block)
                scored = score_mixes(
                    model, images, labels, num_classes, normalization, config, mixes
                )
                waiting.append(scored)
            now, end = time.monotonic(), min(done * size, num_anchors)
            full = len(waiting) * world.size >= _MAX_WAITING or now - saved >= _SAVE_SECONDS
            if done == blocks or world.from_first(partial(bool, full)):
                digest.update(_store(stored, end, waiting, world).data)
                workspace.save(done, identity | {"losses": digest.hexdigest()})
                saved = now
            rate = (end - first * size) * config.draws / max(now - begun, 1e-9)
            workspace.progress(end, num_anchors, "image", draws_per_second=rate)
    if stored is None:
        return np.empty((0, config.draws), np.float32)
    return np.load(workspace.path(LOSSES), mmap_mode="r")


def check_anchors(number: int) -> None:
    """Raise DataError if there are too few training images to be mixed with one another."""
    if number < 2:
        raise DataError(f"scores: {number} training images; allowed: at least 2, to be mixed")


def anchors_in_block(config: ScoresConfig) -> int:
    """Return how many images share a generator."""
    return max(1, _BLOCK // config.draws)


@torch.inference_mode()
def score_mixes(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    normalization: Normalization,
    config: ScoresConfig,
    mixes: Mixes,
) -> Tensor:
    """Return the losses of all mixes, float32 [A, M] in nats, on the device. `model` evaluates."""
    losses = []
    for sources, owners, weights in mixes.split(config.batch_size):
        with autocast(config.precision, images.device):
            mixed = compose_mixes(images, sources, owners, normalization)
            logits = model(normalization(mixed))
        losses.append(mixed_losses(logits, labels[sources], weights, num_classes, config.loss))
    return torch.cat(losses).view(mixes.sources.shape[:2])


def mixed_losses(
    logits: Tensor, labels: Tensor, weights: Tensor, num_classes: int, loss: Loss
) -> Tensor:
    """Return losses float32 [B] in nats of `logits` [B, L] for mixes of `labels` int64 [B, K],
    anchor first, with label weights `weights` float32 [B, K].
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


def summarise(losses: np.ndarray, config: LossesConfig) -> Scores:
    """Return mean, standard deviation and CV of `losses` [N, M], in float64.

    The deviation divides by M - 1, since the draws are a sample of all mixes; dividing by M gives
    the same ranking. If mean and floor are both 0, so is the CV.
    """
    losses = np.asarray(losses, np.float64)
    mean, std = losses.mean(1), losses.std(1, ddof=1)
    level = mean + config.floor
    cv = np.divide(std, level, out=np.zeros_like(std), where=level > 0)
    return Scores(mean, std, cv)


def write_scores_csv(path: Path, labels: np.ndarray, scores: Scores) -> None:
    """Write index, label, mean, std, cv of each image, floats with all digits."""
    columns = (labels, scores.mean, scores.std, scores.cv)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [
        f"{i},{label},{mean!r},{std!r},{cv!r}" for i, (label, mean, std, cv) in enumerate(rows)
    ]
    write_atomically(path, "\n".join(["index,label,mean,std,cv", *lines]) + "\n")


def _store(stored: np.memmap | None, end: int, waiting: list[Tensor], world: World) -> np.ndarray:
    """Write the waiting losses to disk, into the rows before `end`, and return them.

    The first process stores those of all, which took blocks in turn.
    """
    parts = world.all_gather([losses.cpu() for losses in waiting])
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
        stored.flush()  # before the checkpoint with its digest
    return losses


def _open(
    workspace: Workspace, shape: tuple[int, int], identity: State, size: int
) -> tuple[np.memmap | None, int, "hashlib._Hash"]:
    """Return the file of losses (first process only), how many of its blocks of `size` images match
    the last checkpoint's digest, and SHA-256 of those.

    Blocks after those are measured again, with the same result.
    """
    path, world = workspace.path(LOSSES), workspace.world
    done, state = workspace.resume()
    standing, digest = None, hashlib.sha256()
    if world.is_first and done:
        standing = open_array(path, shape)
        digest.update(b"" if standing is None else standing[: done * size].data)
        if standing is None or state != identity | {"losses": digest.hexdigest()}:
            workspace.log(f"warning: {path}: damaged or of other settings; measuring again")
            standing, digest = None, hashlib.sha256()
    done = world.from_first(lambda: done if standing is not None else 0)
    if not world.is_first or standing is not None:
        return standing, done, digest
    workspace.discard_checkpoints()
    return create_array(path, shape), 0, digest


def redraw_mixes(index: int, images: Tensor, config: ScoresConfig, seed: int) -> Mixes:
    """Draw the M mixes of image `index` in `measure_losses` again: [1, M, …], on its device.

    Generators differ between GPU and CPU, so the mixes are the same only if `images` [N, C, H, W]
    are on the kind of device that they were scored on.
    """
    block, place = divmod(index, anchors_in_block(config))
    start = index - place
    end = min(start + anchors_in_block(config), len(images))
    anchors = torch.arange(start, end, device=images.device)
    mixes = draw_mixes(anchors, images, config, seed, block)
    one = slice(place, place + 1)
    return Mixes(mixes.sources[one], mixes.owners[one], mixes.weights[one])


def mixed_images(mixes: Mixes, images: Tensor, normalization: Normalization) -> Tensor:
    """Compose the mixes of one image, uint8 [M, C, H, W]."""
    return compose_mixes(images, mixes.sources[0], mixes.owners[0], normalization)


def losses_of(
    mixes: Mixes,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    normalization: Normalization,
    config: ScoresConfig,
) -> Tensor:
    """Return the losses of the mixes as `measure_losses` does, float32 [A, M], nats."""
    with evaluating(model):
        return score_mixes(model, images, labels, num_classes, normalization, config, mixes)


def recorded_losses(losses: Path, entropies: Path, config: LossesConfig) -> np.ndarray:
    """Return the last `draws` epochs of recorded losses, float32 [N, draws], nats.

    `losses` and `entropies` are the files of `TrainingLosses`, [N, E] with E of at least `draws`.
    An epoch that left an image out is filled with the mean over its other draws, or over all its
    epochs if it has none. Raises PipelineError if all epochs left it out.
    """
    record = np.asarray(read_array(losses, 2), np.float64)
    if config.loss == "kl":
        # Rounding alone can make it negative.
        record = np.maximum(record - read_array(entropies, 2), 0)
    drawn = record[:, -config.draws :].copy()
    for row in np.flatnonzero(np.isnan(drawn).any(1)):
        missing = np.isnan(drawn[row])
        others = record[row] if missing.all() else drawn[row]
        others = others[~np.isnan(others)]
        if not len(others):
            raise PipelineError(
                f"scores.source: training image {row} is in no recorded epoch; allowed: a "
                "scorer of more epochs, or source pass"
            )
        drawn[row, missing] = others.mean()
    return drawn.astype(np.float32)
