"""What scorers, scores and searches of CIFAR-100 cost: steps measured, hours worked out.

    python -m benchmarks.stage_costs [--device cuda] [--json FILE]

A few steps of each stage are timed at the batch size of its recipe, interleaved, and the median is
multiplied by the steps of the whole stage on 50,000 images. So the hours are an extrapolation:
evaluation, checkpoints and anything that changes with time are not in them.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.search import Ours, iterate
from classification.acceleration import autocast
from classification.config import ClassifierConfig
from classification.models import build_classifier
from classification.training.schedules import make_sgd
from classification.training.trainer import to_device
from pcdarts.search import SearchConfig
from pcdarts.supernet import Supernet
from pipeline.config import load_config
from pipeline.device import device_name, keep_freed_memory, resolve_device
from subsample.config import ScoresConfig

_CONFIGS = Path(__file__).parents[1] / "configs"
_RECIPES = {"PyramidNet-110": "cifar100.yaml", "fast": "cifar100-fast.yaml"}
_IMAGES, _CLASSES, _SIDE = 50_000, 100, 32
_FRACTIONS = (0.1, 1.0)


@dataclass(frozen=True)
class Stage:
    """One step of a stage, ready to run, and how many of them the stage takes."""

    step: Callable[[], object]
    steps: int


def scorer_stages(name: str, config: ClassifierConfig, device: torch.device) -> dict[str, Stage]:
    """Training the scorer, and scoring every image ten times with it."""
    model = to_device(build_classifier(config.model, _CLASSES), device)
    rate = 1e-6  # so that the weights stay finite on random labels
    optimizer = make_sgd(model.parameters(), rate, config.momentum, config.weight_decay, True)
    images, labels = _batch(config.batch_size, device)
    scores = ScoresConfig()
    mixes, _ = _batch(scores.batch_size, device)

    def train() -> None:
        model.train()
        with autocast(config.precision, device):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def score() -> None:
        model.eval()
        model(mixes)

    return {
        f"scorer, {name}, {config.epochs} epochs": Stage(
            train, config.epochs * math.ceil(_IMAGES / config.batch_size)
        ),
        f"scores, {name}, M = {scores.draws}": Stage(
            score, math.ceil(_IMAGES * scores.draws / scores.batch_size)
        ),
    }


def search_stages(config: SearchConfig, device: torch.device) -> dict[str, Stage]:
    """A search on a tenth and on all of the images: architecture steps after the warm-up alone."""
    variant = Ours(Supernet, config.model_copy(update={"learning_rate": 1e-6}), device)
    images, labels = _batch(config.batch_size, device)
    labels = labels % 10
    stages = {}
    for fraction in _FRACTIONS:
        steps = math.ceil(_IMAGES * fraction / 2 / config.batch_size)
        searching = steps * (config.epochs - config.warmup_epochs)
        stages[f"search, t = {fraction}, after the warm-up"] = Stage(
            lambda: iterate(variant, images, labels), searching
        )
        stages[f"search, t = {fraction}, the warm-up"] = Stage(
            lambda: variant.weight_step(images, labels), steps * config.warmup_epochs
        )
    return stages


def main() -> None:
    """Time the steps, print the hours, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    keep_freed_memory()
    stages: dict[str, Stage] = {}
    for name, file in _RECIPES.items():
        stages |= scorer_stages(name, load_config(_CONFIGS / file).scorer, device)
    stages |= search_stages(load_config(_CONFIGS / "cifar100.yaml").search, device)
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for repeat in range(-1, arguments.repeats):
        for name, stage in stages.items():
            elapsed = timed(stage.step, device)
            if repeat >= 0:
                seconds[name].append(elapsed)
    rows: dict[str, Any] = {
        name: {
            "step_seconds": statistics.median(seconds[name]),
            "steps": stage.steps,
            "hours": statistics.median(seconds[name]) * stage.steps / 3600,
        }
        for name, stage in stages.items()
    }
    print(f"{device_name(device)}, torch {torch.__version__}; medians of {arguments.repeats}")
    for name, row in rows.items():
        print(f"{name:40} {row['step_seconds']:9.4f} s × {row['steps']:7,} = {row['hours']:8.2f} h")
    if arguments.json:
        record = {"device": device_name(device), "torch": torch.__version__, "stages": rows}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done a step."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def _batch(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.randn(size, 3, _SIDE, _SIDE, device=device)
    return images, torch.arange(size, device=device) % _CLASSES


if __name__ == "__main__":
    main()
