"""Cost of CIFAR-100's scorers, scores and searches, extrapolated from timed steps.

    python -m benchmarks.stage_costs [--device cuda] [--json FILE]

A few steps of each stage are timed at the batch size of its recipe, interleaved, and the median is
multiplied by the number of steps on 50,000 images. The hours are an extrapolation, without
evaluation, checkpoints and changes over time.
"""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.measurement import (
    CONFIGS,
    LEARNING_RATE,
    Run,
    interleaved,
    options,
    random_batch,
    write_record,
)
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

IMAGES, CLASSES, SIDE = 50_000, 100, 32
_RECIPES = {"PyramidNet-110": "cifar100.yaml", "fast": "cifar100-fast.yaml"}
_FRACTIONS = (0.1, 1.0)


@dataclass(frozen=True)
class Stage:
    """One step of a stage, and the number of steps of the stage."""

    step: Run
    steps: int


class ScorerTraining:
    """A scorer and a step of its training, on one random batch."""

    def __init__(self, config: ClassifierConfig, device: torch.device) -> None:
        self.model: nn.Module = to_device(build_classifier(config.model, CLASSES), device)
        self.optimizer = make_sgd(
            self.model.parameters(), LEARNING_RATE, config.momentum, config.weight_decay, True
        )
        self._batch = random_batch(config.batch_size, CLASSES, SIDE, device)
        self._precision, self._device = config.precision, device

    def step(self) -> None:
        images, labels = self._batch
        self.model.train()
        with autocast(self._precision, self._device):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def scorer_stages(name: str, config: ClassifierConfig, device: torch.device) -> dict[str, Stage]:
    """Return the stages of training the scorer and of scoring every image ten times."""
    training, scores = ScorerTraining(config, device), ScoresConfig()
    mixes, _ = random_batch(scores.batch_size, CLASSES, SIDE, device)

    @torch.inference_mode()
    def score() -> None:
        training.model.eval()
        training.model(mixes)

    return {
        f"scorer, {name}, {config.epochs} epochs": Stage(
            training.step, config.epochs * math.ceil(IMAGES / config.batch_size)
        ),
        f"scores, {name}, M = {scores.draws}": Stage(
            score, math.ceil(IMAGES * scores.draws / scores.batch_size)
        ),
    }


def search_stages(config: SearchConfig, device: torch.device) -> dict[str, Stage]:
    """Return the stages of a search on a tenth and on all images, in and after the warm-up."""
    variant = Ours(Supernet, config.model_copy(update={"learning_rate": LEARNING_RATE}), device)
    batch = random_batch(config.batch_size, variant.num_classes, SIDE, device)
    stages = {}
    for fraction in _FRACTIONS:
        steps = math.ceil(IMAGES * fraction / 2 / config.batch_size)
        searching = steps * (config.epochs - config.warmup_epochs)
        stages[f"search, t = {fraction}, after the warm-up"] = Stage(
            lambda: iterate(variant, *batch), searching
        )
        stages[f"search, t = {fraction}, the warm-up"] = Stage(
            lambda: variant.weight_step(*batch), steps * config.warmup_epochs
        )
    return stages


def main() -> None:
    """Time the steps, print the hours, and write them to --json."""
    given = options(__doc__, device="cpu", repeats=5).parse_args()
    device = resolve_device(given.device)
    keep_freed_memory()
    stages: dict[str, Stage] = {}
    for name, file in _RECIPES.items():
        stages |= scorer_stages(name, load_config(CONFIGS / file).scorer, device)
    stages |= search_stages(load_config(CONFIGS / "cifar100.yaml").search, device)
    seconds = interleaved({n: stage.step for n, stage in stages.items()}, given.repeats, device)
    rows: dict[str, Any] = {}
    print(f"{device_name(device)}, torch {torch.__version__}; medians of {given.repeats}")
    for name, stage in stages.items():
        step = statistics.median(seconds[name])
        hours = step * stage.steps / 3600
        rows[name] = {"step_seconds": step, "steps": stage.steps, "hours": hours}
        print(f"{name:40} {step:9.4f} s × {stage.steps:7,} = {hours:8.2f} h")
    write_record(given.json, device, given, stages=rows)


if __name__ == "__main__":
    main()
