"""Learning rates as functions of time: epochs passed → share of the base rate.

A schedule has no state, so a resumed run needs nothing but the epoch.
"""

import math
from collections.abc import Callable, Sequence

import torch

Schedule = Callable[[float], float]


def step_decay(epochs: int, milestones: Sequence[float], factor: float = 0.1) -> Schedule:
    """×`factor` at each milestone, a share of the epochs (He et al. 2016)."""
    return lambda epoch: factor ** sum(int(epoch) >= round(m * epochs) for m in milestones)


def cosine_decay(epochs: int) -> Schedule:
    """From 1 to 0 along half a cosine, one value an epoch (Loshchilov & Hutter 2017)."""
    return lambda epoch: 0.5 * (1 + math.cos(math.pi * int(epoch) / epochs))


def linear_decay(epochs: int, warmup_epochs: int = 0) -> Schedule:
    """Up in equal steps over the warm-up epochs, then linearly to 0, one value an epoch."""

    def share(epoch: float) -> float:
        epoch = int(epoch)
        if epoch < warmup_epochs:
            return (epoch + 1) / warmup_epochs
        return 1 - (epoch - warmup_epochs) / (epochs - warmup_epochs)

    return share


def one_cycle(epochs: int, peak: float = 0.3) -> Schedule:
    """Up linearly until `peak` of the epochs, down to 0 linearly, step by step (Smith 2018)."""
    top = peak * epochs
    return lambda epoch: min(epoch / top, (epochs - epoch) / (epochs - top))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
