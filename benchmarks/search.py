"""The merged supernet against the plain one: time and operations of a search iteration.

An iteration is an architecture step and a weight step.

    python -m benchmarks.search [--device cuda] [--batch-size 64] [--json FILE]

Variants run interleaved, and medians are compared as ratios, so that a busy machine disturbs all
alike. The random images stand for any: the time does not depend on what they show.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pcdarts.architect import Architect
from pcdarts.search import SearchConfig
from pcdarts.steps import weight_step
from pcdarts.supernet import Supernet
from tests.pcdarts.plain_supernet import PlainSupernet

_NUM_CLASSES = 10
_WARMUP_RUNS = 2


class OperationCounter(TorchDispatchMode):
    """Counts the aten operations dispatched below autograd, and those among them that are views."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.views = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.operations += 1
        self.views += bool(func.is_view)
        return func(*args, **(kwargs or {}))


def make_iteration(
    kind: type[Supernet] | type[PlainSupernet],
    config: SearchConfig,
    images: Tensor,
    labels: Tensor,
    architecture: bool,
) -> Callable[[], None]:
    """One iteration on the same batch every time, without the architecture step if not wanted."""
    model: Any = kind(_NUM_CLASSES, config.channels, config.cells, config.partial_channels)
    model.to(images.device).train()
    # A learning rate of next to nothing, so that the weights stay finite on random labels.
    optimizer = torch.optim.SGD(
        model.weight_parameters(), lr=1e-6, momentum=0.9, weight_decay=config.weight_decay
    )
    architect = Architect(
        model, config.architecture_learning_rate, config.architecture_weight_decay
    )

    def iteration() -> None:
        if architecture:
            architect.step(images, labels)
        weight_step(model, optimizer, images, labels, config.gradient_clip)

    return iteration


def measure(
    iterations: dict[str, Callable[[], None]], repeats: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Median and extreme seconds and the operation counts of each, the runs interleaved."""
    counts = {}
    for name, iteration in iterations.items():
        for _ in range(_WARMUP_RUNS):
            iteration()
        with OperationCounter() as counter:
            iteration()
        counts[name] = counter
    seconds: dict[str, list[float]] = {name: [] for name in iterations}
    for _ in range(repeats):
        for name, iteration in iterations.items():
            seconds[name].append(_timed(iteration, device))
    return {
        name: {
            "seconds": statistics.median(times),
            "seconds_min": min(times),
            "seconds_max": max(times),
            "operations": counts[name].operations,
            "operations_without_views": counts[name].operations - counts[name].views,
        }
        for name, times in seconds.items()
    }


def main() -> None:
    """Measure, print a table and the ratios, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="images (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--cells", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    images = torch.randn(arguments.batch_size, 3, arguments.side, arguments.side, device=device)
    labels = torch.arange(arguments.batch_size, device=device) % _NUM_CLASSES

    config = SearchConfig(channels=arguments.channels, cells=arguments.cells)
    kinds: dict[str, type[Supernet] | type[PlainSupernet]]
    kinds = {"merged": Supernet, "plain": PlainSupernet}
    variants = {
        f"{name}{'' if architecture else ', weights only'}": make_iteration(
            kind, config, images, labels, architecture
        )
        for architecture in (True, False)
        for name, kind in kinds.items()
    }
    figures = measure(variants, arguments.repeats, device)
    ratios = {
        f"plain / merged{suffix}": figures[f"plain{suffix}"]["seconds"]
        / figures[f"merged{suffix}"]["seconds"]
        for suffix in ("", ", weights only")
    }
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    print(f"{name}, torch {torch.__version__}, {arguments.repeats} interleaved runs")
    for variant, row in figures.items():
        print(
            f"{variant:<20} {row['seconds']:8.3f} s ({row['seconds_min']:.3f}"
            f"-{row['seconds_max']:.3f}) {row['operations']:>7} operations, "
            f"{row['operations_without_views']} without views"
        )
    for compared, ratio in ratios.items():
        print(f"{compared}: {ratio:.2f}")
    if arguments.json:
        setting = {key: value for key, value in vars(arguments).items() if key != "json"}
        report = {"device": name, "torch": torch.__version__, "setting": setting}
        report |= {"variants": figures, "ratios": ratios}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _timed(iteration: Callable[[], None], device: torch.device) -> float:
    _finish(device)
    started = time.perf_counter()
    iteration()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
