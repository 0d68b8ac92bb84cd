"""Time of a checkpoint relative to an epoch, and its size: scorers and search on CIFAR-100.

    python -m benchmarks.checkpoint [--device cuda] [--folder DIR] [--repeats 5] [--json FILE]

Steps at the recipe's batch size and checkpoints of the stage's state are timed in turn; the medians
are compared, with the step's multiplied by the steps of an epoch. Set `--folder` to the disk of the
artifacts. The output includes the length of an epoch at which a checkpoint reaches the goal.
"""

import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import (
    CONFIGS,
    LEARNING_RATE,
    Row,
    Run,
    options,
    random_batch,
    ratios,
    seconds_of,
    write_record,
)
from benchmarks.search import Ours, iterate
from benchmarks.stage_costs import CLASSES, IMAGES, SIDE, ScorerTraining
from classification.config import ClassifierConfig
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from pcdarts.search_config import SearchConfig
from pcdarts.supernet import Supernet
from pipeline.config import load_config
from pipeline.device import device_name, keep_freed_memory, resolve_device

_GOAL = 0.02  # of an epoch
_SAVES = 5  # per step


@dataclass(frozen=True)
class Work:
    """A step, the number of steps per epoch, and the content of a checkpoint."""

    step: Run
    steps: int
    state: Callable[[], State]


def scorer(config: ClassifierConfig, device: torch.device) -> Work:
    """Return the work of training a scorer on all images."""
    training = ScorerTraining(config, device)
    kept = {"model": training.model, "optimizer": training.optimizer}
    return Work(training.step, math.ceil(IMAGES / config.batch_size), partial(_state, kept))


def search(config: SearchConfig, fraction: float, device: torch.device) -> Work:
    """Return the work of a search on a fraction of the images, after the warm-up."""
    config = config.model_copy(update={"learning_rate": LEARNING_RATE})
    ours = Ours(Supernet, config, device, num_classes=CLASSES)
    batch = random_batch(config.batch_size, CLASSES, SIDE, device)
    kept = {
        "model": ours.model,
        "optimizer": ours.optimizer,
        "architecture_optimizer": ours.architect.optimizer,
    }
    steps = math.ceil(IMAGES * fraction / 2 / config.batch_size)
    return Work(lambda: iterate(ours, *batch), steps, partial(_state, kept))


def main() -> None:
    """Time steps and checkpoints, print their ratios, and write them to --json."""
    parser = options(__doc__, device="cpu", repeats=5)
    parser.add_argument(
        "--folder", type=Path, help="for checkpoints (default: system's temporary folder)"
    )
    given = parser.parse_args()
    device = resolve_device(given.device)
    keep_freed_memory()
    paper, fast = (load_config(CONFIGS / f"{name}.yaml") for name in ("cifar100", "cifar100-fast"))
    works = {
        "scorer, PyramidNet-110": scorer(paper.scorer, device),
        "scorer, ResNet-9": scorer(fast.scorer, device),
        "search, t = 0.1": search(paper.search, 0.1, device),
        "search, t = 1": search(paper.search, 1.0, device),
    }
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        rows = measure(works, Path(folder), given.repeats, device)
    print(f"{device_name(device)}, torch {torch.__version__}; medians of {given.repeats}")
    for name, row in rows.items():
        print(
            f"{name:24} checkpoint {1000 * row['checkpoint_seconds']:7.1f} ms of "
            f"{row['megabytes']:6.1f} MB, epoch {row['epoch_seconds']:8.1f} s: {row['share']:.3%}; "
            f"{_GOAL:.0%} at an epoch of {row['checkpoint_seconds'] / _GOAL:.1f} s"
        )
    summary = [
        Row(f"save / epoch, {name}", [100 * share for share in row["shares"]], "%")
        for name, row in rows.items()
    ]
    write_record(given.json, device, given, summary, works=rows)


def measure(
    works: dict[str, Work], folder: Path, repeats: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Measure seconds of an epoch's steps and of a checkpoint, by name, without the first round."""
    steps: dict[str, list[float]] = {name: [] for name in works}
    saves: dict[str, list[float]] = {name: [] for name in works}
    spaces = {name: Workspace(folder / str(number)) for number, name in enumerate(works)}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            steps[name].append(seconds_of(work.step, device))
            times = []
            for number in range(_SAVES):
                save = partial(_save, spaces[name], _SAVES * repeat + number + 1, work)
                times.append(seconds_of(save, device))
            saves[name].append(statistics.median(times))
    rows = {}
    for name, work in works.items():
        newest = max(spaces[name].directory.glob("checkpoint-*"))
        epochs, checkpoints = [each * work.steps for each in steps[name][1:]], saves[name][1:]
        shares = ratios(checkpoints, epochs)
        rows[name] = {
            "epoch_seconds": statistics.median(epochs),
            "checkpoint_seconds": statistics.median(checkpoints),
            "megabytes": newest.stat().st_size / 1e6,
            "share": statistics.median(shares),
            "shares": shares,
        }
    return rows


def _save(workspace: Workspace, epoch: int, work: Work) -> None:
    workspace.save(epoch, work.state(), {"epoch": epoch})


def _state(kept: dict[str, Any]) -> State:
    return {name: each.state_dict() for name, each in kept.items()}


if __name__ == "__main__":
    main()
