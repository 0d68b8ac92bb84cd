"""What share of an epoch its checkpoint takes, of CIFAR-100's scorers and its search.

    python -m benchmarks.checkpoint [--device cuda] [--folder DIR] [--repeats 5] [--json FILE]

A step at the recipe's batch size and a few checkpoints of all that the stage keeps are timed in
turn, so that both see the same machine; the medians are compared, the step's times the steps of an
epoch.
`--folder` is where checkpoints go: the disk that artifacts lie on is the one to measure. Beside the
share stands the epoch under which a checkpoint would take more than the goal.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.stage_costs import timed
from classification.acceleration import autocast
from classification.config import ClassifierConfig
from classification.models import build_classifier
from classification.persistence.checkpoint import State
from classification.persistence.workspace import Workspace
from classification.training.schedules import make_sgd
from classification.training.trainer import to_device
from pcdarts.architect import Architect
from pcdarts.search import build_supernet, make_weight_optimizer
from pcdarts.search_config import SearchConfig
from pcdarts.steps import weight_step
from pipeline.config import load_config
from pipeline.device import device_name, keep_freed_memory, resolve_device

_CONFIGS = Path(__file__).parents[1] / "configs"
_IMAGES, _CLASSES, _SIDE = 50_000, 100, 32
_RATE = 1e-6  # so that the weights stay finite on random labels
_GOAL = 0.02  # of an epoch
_SAVES = 5  # a step


@dataclass(frozen=True)
class Work:
    """A step, how many of them an epoch has, and what its checkpoint keeps."""

    step: Callable[[], object]
    steps: int
    state: Callable[[], State]


def scorer(config: ClassifierConfig, device: torch.device) -> Work:
    """Training a scorer on all images."""
    model = to_device(build_classifier(config.model, _CLASSES), device).train()
    optimizer = make_sgd(model.parameters(), _RATE, config.momentum, config.weight_decay, True)
    images, labels = _batch(config.batch_size, device)

    def step() -> None:
        with autocast(config.precision, device):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return Work(
        step,
        math.ceil(_IMAGES / config.batch_size),
        lambda: {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
    )


def search(config: SearchConfig, fraction: float, device: torch.device) -> Work:
    """Searching on a fraction of the images, after the warm-up: of α and β too."""
    config = config.model_copy(update={"learning_rate": _RATE})
    model = build_supernet(_CLASSES, config, 0)
    to_device(model, device).train()
    optimizer = make_weight_optimizer(model, config)
    architect = Architect(
        model, _RATE, config.architecture_weight_decay, precision=config.precision
    )
    images, labels = _batch(config.batch_size, device)

    def step() -> None:
        architect.step(images, labels)
        weight_step(model, optimizer, images, labels, config.gradient_clip, config.precision)

    return Work(
        step,
        math.ceil(_IMAGES * fraction / 2 / config.batch_size),
        lambda: {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "architecture_optimizer": architect.optimizer.state_dict(),
        },
    )


def main() -> None:
    """Time steps and checkpoints, print their shares, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="for checkpoints (default: the system's)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    keep_freed_memory()
    paper, fast = (load_config(_CONFIGS / f"{name}.yaml") for name in ("cifar100", "cifar100-fast"))
    works = {
        "scorer, PyramidNet-110": scorer(paper.scorer, device),
        "scorer, ResNet-9": scorer(fast.scorer, device),
        "search, t = 0.1": search(paper.search, 0.1, device),
        "search, t = 1": search(paper.search, 1.0, device),
    }
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = measure(works, Path(folder), arguments.repeats, device)
    print(f"{device_name(device)}, torch {torch.__version__}; medians of {arguments.repeats}")
    for name, row in rows.items():
        print(
            f"{name:24} checkpoint {1000 * row['checkpoint_seconds']:7.1f} ms of "
            f"{row['megabytes']:6.1f} MB, epoch {row['epoch_seconds']:8.1f} s: {row['share']:.3%}; "
            f"{_GOAL:.0%} at an epoch of {row['checkpoint_seconds'] / _GOAL:.1f} s"
        )
    if arguments.json:
        record = {"device": device_name(device), "torch": torch.__version__, "works": rows}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def measure(
    works: dict[str, Work], folder: Path, repeats: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Seconds of an epoch's steps and of its checkpoint, by name; the first turn is dropped."""
    steps: dict[str, list[float]] = {name: [] for name in works}
    saves: dict[str, list[float]] = {name: [] for name in works}
    spaces = {name: Workspace(folder / str(number)) for number, name in enumerate(works)}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            steps[name].append(timed(work.step, device))

            for number in range(_SAVES):
                save = partial(_save, spaces[name], _SAVES * repeat + number + 1, work)
                saves[name].append(timed(save, device))
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


def _batch(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(size, 3, _SIDE, _SIDE, device=device)
    return images, torch.arange(size, device=device) % _CLASSES


if __name__ == "__main__":
    main()
