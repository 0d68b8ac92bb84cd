"""The widest network of a genotype within a budget.

Cells allow even numbers of channels. Parameters and multiply-adds grow with the channels, and so
does the latency up to its noise, so the widest network is found by bisection: it keeps the budget,
and the next one, two channels wider, does not. No network is wider than `WIDEST`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, lru_cache, partial
from statistics import median

import torch
from torch import nn

from classification.errors import ConfigError
from classification.seeding import seeded
from classification.training.trainer import to_device
from evaluate.budget import BudgetConfig
from evaluate.complexity import Complexity, measure_complexity
from evaluate.retrain import build_network
from evaluate.retrain_config import RetrainConfig
from pcdarts.genotype import EDGES_PER_NODE, Edge, Genotype, Node

STEP = 2  # channels
WIDEST = 512
"""Channels. Without it, a long latency would be met by networks that do not fit into memory: with
20 cells this one has about 700 M parameters."""
LATENCY_RUNS, _WARM_UP_RUNS = 25, 5


def _same(operation: str) -> tuple[Node, ...]:
    return tuple((Edge(operation, 0), Edge(operation, 1)) for _ in EDGES_PER_NODE)


LIGHTEST = Genotype(normal=_same("skip_connect"), reduce=_same("max_pool_3x3"))
"""No genotype has fewer parameters or multiply-adds: its operations have none. In a reduction cell
skip_connect has."""


class NarrowestExceedsBudgetError(ConfigError):
    """A genotype fits the budget at no width. `excess` names the key, its limit and the need."""

    def __init__(self, message: str, excess: str) -> None:
        super().__init__(message)
        self.excess = excess


@dataclass(frozen=True)
class Width:
    """Channels of a network's first cell, and what the network then needs at inference."""

    channels: int
    complexity: Complexity
    latency: float | None
    """Milliseconds for one image, the median of LATENCY_RUNS; None if the budget has no latency."""

    def excess(self, budget: BudgetConfig) -> str | None:
        """The first key of the budget that the network exceeds, its limit and what was found."""
        for key, limit, found in (
            ("parameters", budget.parameters, self.complexity.parameters),
            ("multiply_adds", budget.multiply_adds, self.complexity.multiply_adds),
        ):
            if limit is not None and found > limit:
                return f"{key}: {limit:,} is below the {found:,}"
        if budget.latency is None or self.latency is None or self.latency <= budget.latency:
            return None
        return f"latency: {_plain(budget.latency)}ms is below the {_plain(self.latency)}ms"


def choose_width(
    genotype: Genotype,
    config: RetrainConfig,
    num_classes: int,
    image_size: int,
    budget: BudgetConfig,
    device: torch.device,
) -> tuple[Width, Width | None]:
    """Return the widest network within the budget, and the next one, which exceeds it; None for
    the next one if the network of `WIDEST` channels keeps the budget.

    The network is that of `config` with other channels, without its auxiliary head, for square
    images of `image_size` pixels. A latency is measured on `device` by `measure_latency`, and only
    of networks that keep the other limits. Raises NarrowestExceedsBudgetError if no width fits.
    """

    @cache
    def measure(channels: int) -> Width:
        return _measure(genotype, config, channels, num_classes, image_size, budget, device)

    _check_narrowest(measure(STEP), config, budget)
    low, high = STEP, 2 * STEP
    while high <= WIDEST and measure(high).excess(budget) is None:
        low, high = high, 2 * high
    if low == WIDEST:
        return measure(low), None
    while high - low > STEP:
        middle = (low + high) // (2 * STEP) * STEP
        if measure(middle).excess(budget) is None:
            low = middle
        else:
            high = middle
    return measure(low), measure(high)


def check_budget(
    genotype: Genotype | None,
    config: RetrainConfig,
    num_classes: int,
    image_size: int,
    budget: BudgetConfig,
    device: torch.device,
    key: str = "budget",
) -> None:
    """Raise NarrowestExceedsBudgetError if the genotype fits the budget at no width.

    Without a genotype, because the search is still to come, that is the narrowest of `LIGHTEST`.
    The message begins with `key`.
    """
    lightest = genotype or LIGHTEST
    narrowest = _measure(lightest, config, STEP, num_classes, image_size, budget, device)
    _check_narrowest(narrowest, config, budget, key)


def measure_latency(network: nn.Module, image_size: int, device: torch.device) -> float:
    """Return the milliseconds of a forward pass of one RGB image, in float32 and inference mode.

    The network is moved to `device`. The result is the median of `LATENCY_RUNS` passes after a
    warm-up; on a GPU, each is waited for.
    """
    network = to_device(network.eval(), device)
    image = torch.zeros(1, 3, image_size, image_size, device=device)

    def forward() -> None:
        network(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        return median_milliseconds(forward)


def median_milliseconds(run: Callable[[], object]) -> float:
    """Return the median wall time of `LATENCY_RUNS` calls after a warm-up."""
    times = []
    for _ in range(_WARM_UP_RUNS + LATENCY_RUNS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1000 * median(times[_WARM_UP_RUNS:])


def _measure(
    genotype: Genotype,
    config: RetrainConfig,
    channels: int,
    num_classes: int,
    image_size: int,
    budget: BudgetConfig,
    device: torch.device,
) -> Width:
    shape = config.model_copy(update={"channels": channels, "auxiliary_weight": 0.0})
    width = Width(channels, _count(genotype, shape, num_classes, image_size), None)
    if budget.latency is None or width.excess(budget) is not None:
        return width
    with seeded(0, "latency-weights"):
        network = build_network(genotype, shape, num_classes)
    return replace(width, latency=measure_latency(network, image_size, device))


@lru_cache(maxsize=1024)  # several budgets try the same widths
def _count(
    genotype: Genotype, config: RetrainConfig, num_classes: int, image_size: int
) -> Complexity:
    return measure_complexity(partial(build_network, genotype, config, num_classes), image_size)


def _check_narrowest(
    narrowest: Width, config: RetrainConfig, budget: BudgetConfig, key: str = "budget"
) -> None:
    excess = narrowest.excess(budget)
    if excess is not None:
        needed = f"{excess} of the narrowest network ({STEP} channels, {config.cells} cells)"
        raise NarrowestExceedsBudgetError(
            f"{key}.{needed}; allowed: at least that, or fewer retrain.cells", needed
        )


def _plain(number: float) -> str:
    """Format with three significant digits and without an exponent."""
    return f"{Decimal(f'{number:.3g}'):f}"
