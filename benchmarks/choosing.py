"""Seconds and peak memory of choosing a tenth of 50,000 images, by every order and from features.

    python -m benchmarks.choosing [--images 50000] [--classes 100] [--features 512] [--json FILE]

What the images are ranked by is given: random entropies, features and logits. `training dynamics`
is what recording takes an epoch beside the forward pass. Memory is the growth of a new process at
the peak, beyond the given values; on a CPU.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np
import torch

from benchmarks.measurement import Row, interleaved, options, peak_memory, write_record
from classification.training.dynamics import Dynamics
from pipeline.device import device_name
from pipeline.reports.page import markdown_table
from subsample.coreset import k_center_ranks
from subsample.measures import Order
from subsample.moderate import moderate_values
from subsample.selection import select
from subsample.subset_config import SelectionConfig

_CPU = torch.device("cpu")
_BATCH = 512  # images whose logits are added at a time
_FEATURES = ("moderate", "k_center")
_DYNAMICS = "training dynamics, an epoch"
_HEADLINE = ("deterministic", "moderate", "k_center")


def main() -> None:
    """Print the table, and write it to --json."""
    parser = options(__doc__, images=50_000, classes=100, features=512, repeats=5)
    given = parser.parse_args()
    print(f"{device_name(_CPU)}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    names = (*get_args(Order), *_FEATURES, _DYNAMICS)
    ways = {name: partial(prepare, name, given) for name in names}
    seconds = interleaved({name: way() for name, way in ways.items()}, given.repeats, _CPU)
    memory = {name: peak_memory(way, _CPU) for name, way in ways.items()}
    columns = {
        "choosing": list(names),
        "seconds, median": [f"{statistics.median(seconds[name]):.3f}" for name in names],
        "range": [f"{min(seconds[name]):.3f}-{max(seconds[name]):.3f}" for name in names],
        "peak, MB": [f"{memory[name] / 1e6:.0f}" for name in names],
    }
    print(markdown_table(columns))
    summary = [
        *(Row(f"{name}, {given.images:,} images", seconds[name], "s") for name in _HEADLINE),
        Row("k_center, peak memory", [memory["k_center"] / 1e6], "MB"),
    ]
    write_record(given.json, _CPU, given, summary, seconds=seconds, memory=memory)


def prepare(name: str, given: argparse.Namespace) -> Callable[[], object]:
    """Draw what the images are ranked by, and return what chooses by it."""
    generator = np.random.default_rng(0)
    labels = np.arange(given.images) % given.classes
    if name == _DYNAMICS:
        logits = torch.from_numpy(
            generator.standard_normal((given.images, given.classes), np.float32)
        )
        return partial(_observe, logits, torch.from_numpy(labels))
    if name in _FEATURES:
        drawn = generator.standard_normal((given.images, given.features), np.float32)
        features = torch.from_numpy(drawn)
        measure = moderate_values if name == "moderate" else k_center_ranks
        return partial(measure, features, torch.from_numpy(labels))
    config = SelectionConfig.model_validate({"measure": "entropy", "order": name, "fraction": 0.1})
    entropies = generator.gamma(0.3, size=given.images)
    return partial(select, labels, config, entropies, 0)


def _observe(logits: torch.Tensor, labels: torch.Tensor) -> None:
    dynamics = Dynamics(len(labels))
    for first in range(0, len(labels), _BATCH):
        rows = slice(first, first + _BATCH)
        dynamics.add(logits[rows], labels[rows], first)


if __name__ == "__main__":
    main()
