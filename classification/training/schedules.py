"""SGD, and learning rates as a function of the epochs passed.

A schedule has no state, so a resumed run needs nothing but the epoch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Schedule = Callable[[float], float]

_LAST_EPOCHS = 5  # of a linear decay, of a smaller slope


def step_decay(epochs: int, milestones: Sequence[float], factor: float = 0.1) -> Schedule:
    """×`factor` at each milestone, a share of the epochs (He et al. 2016)."""
    return lambda epoch: factor ** sum(int(epoch) >= round(m * epochs) for m in milestones)


def cosine_decay(epochs: int) -> Schedule:
    """From 1 to 0 along half a cosine, one value an epoch (Loshchilov & Hutter 2017)."""
    return lambda epoch: 0.5 * (1 + math.cos(math.pi * int(epoch) / epochs))


def linear_decay(epochs: int, warmup_epochs: int = 0) -> Schedule:
    """Up in equal steps over the warm-up epochs, then down in a line, one value an epoch.

    As PC-DARTS' `train_imagenet.py`: the line of all epochs reaches 0 five epochs before the last,
    and these five share what is left: (E-5-e)/(E-5), then (E-e)/(5(E-5)). Other than there, the
    warm-up does not depend on the batch size. The warm-up replaces the first values of the line and
    does not move it, whatever its length. Of five epochs or fewer the rate is (E-e)/E. It is
    never 0.
    """
    last = min(_LAST_EPOCHS, epochs)
    line = max(1, epochs - last)

    def share(epoch: float) -> float:
        epoch = int(epoch)
        if epoch < warmup_epochs:
            return (epoch + 1) / warmup_epochs
        left = epochs - epoch
        return (left - last) / line if left > last else left / (last * line)

    return share


def one_cycle(epochs: int, peak: float = 0.3) -> Schedule:
    """Up linearly until `peak` of the epochs, down to 0 linearly, step by step (Smith 2018)."""
    top = peak * epochs
    return lambda epoch: min(epoch / top, (epochs - epoch) / (epochs - top))


def linear_rise(epochs: int, top: float) -> Schedule:
    """From 0 linearly towards `top`."""
    return lambda epoch: top * epoch / epochs


def restarted(cycles: Iterable[tuple[int, Schedule]]) -> Schedule:
    """One schedule after the other, each for its number of epochs (Loshchilov & Hutter 2017)."""
    numbers, schedules = zip(*cycles, strict=True)
    starts = [0, *accumulate(numbers[:-1])]

    def value(epoch: float) -> float:
        index = bisect_right(starts, epoch) - 1
        return schedules[index](epoch - starts[index])

    return value


def make_sgd(
    parameters: Iterable[Tensor],
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """SGD that updates all parameters in one call and reads its learning rate from the device.

    So a captured step follows `set_learning_rate` without being captured again.
    """
    import torch  # slow to import, and a schedule needs none of it

    parameters = list(parameters)
    return torch.optim.SGD(
        parameters,
        lr=torch.tensor(learning_rate, dtype=torch.float32, device=parameters[0].device),
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state, each tensor laid out in memory as its parameter is.

    A checkpoint keeps values, not strides, and an update in one call takes all by address.
    """
    import torch

    optimizer.load_state_dict(dict(state))
    for parameter, entry in optimizer.state.items():
        for name, value in entry.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                entry[name] = torch.empty_like(parameter).copy_(value)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group the same learning rate, in place where it is a tensor."""
    import torch

    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            # A loaded state brings a tensor that lies on the CPU.
            group["lr"] = group["lr"].to(group["params"][0].device)
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate
