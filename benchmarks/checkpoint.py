"""Time and size of a checkpoint as a share of an epoch: CIFAR-100's scorers and its search.

    python -m benchmarks.checkpoint [--device cuda] [--folder DIR] [--repeats 5] [--json FILE]

A step at the recipe's batch size and a few checkpoints of all that the stage keeps are timed in
turn; the medians are compared, the step's times the steps of an epoch. `--folder` is where
checkpoints go: the disk of the artifacts is the one to measure. Beside the share stands the length
of an epoch under which a checkpoint would take more than the goal.
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
    Run,
    options,
    random_batch,
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
_SAVES = 5  # a step


@dataclass(frozen=True)
class Work:
    """A step, how many of them an epoch has, and what its checkpoint keeps."""

    step: Run
    steps: int
    state: Callable[[], State]


def scorer(config: ClassifierConfig, device: torch.device) -> Work:
    """Training a scorer on all images."""
    training = ScorerTraining(config, device)
    kept = {"model": training.model, "optimizer": training.optimizer}
    return Work(training.step, math.ceil(IMAGES / config.batch_size), partial(_state, kept))


def search(config: SearchConfig, fraction: float, device: torch.device) -> Work:
    """Searching on a fraction of the images, after the warm-up: of α and β too."""
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
    """Time steps and checkpoints, print their shares, and write them as JSON if asked to."""
    parser = options(__doc__, device="cpu", repeats=5)
    parser.add_argument("--folder", type=Path, help="for checkpoints (default: the system's)")
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
    write_record(given.json, device, given, works=rows)


def measure(
    works: dict[str, Work], folder: Path, repeats: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Seconds of an epoch's steps and of its checkpoint, by name; the first turn is dropped."""
    steps: dict[str, list[float]] = {name: [] for name in works}
    saves: dict[str, list[float]] = {name: [] for name in works}
    spaces = {name: Workspace(folder / str(number)) for number, name in enumerate(works)}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            steps[name].append(seconds_of(work.step, device))
            for number in range(_SAVES):
                save = partial(_save, spaces[name], _SAVES * repeat + number + 1, work)
                saves[name].append(seconds_of(save, device))
    rows = {}
    for name, work in works.items():
        newest = max(spaces[name].directory.glob("checkpoint-*"))
        epoch = statistics.median(steps[name][1:]) * work.steps
        checkpoint = statistics.median(saves[name][_SAVES:])
        rows[name] = {
            "epoch_seconds": epoch,
            "checkpoint_seconds": checkpoint,
            "megabytes": newest.stat().st_size / 1e6,
            "share": checkpoint / epoch,
        }
    return rows


def _save(workspace: Workspace, epoch: int, work: Work) -> None:
    workspace.save(epoch, work.state(), {"epoch": epoch})


def _state(kept: dict[str, Any]) -> State:
    return {name: each.state_dict() for name, each in kept.items()}


if __name__ == "__main__":
    main()
