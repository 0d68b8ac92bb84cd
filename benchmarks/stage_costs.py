"""Cost of CIFAR-100's scorers, scores and searches, extrapolated from timed steps.

    python -m benchmarks.stage_costs [--device cuda] [--json FILE]

A few whole steps of each stage (loading from memory, augmentation, mixing, forward, backward and
update; of scores drawing, composing and the loss) are timed as the pipeline runs them, on random
images at the batch size of the recipe, interleaved, and the median is
multiplied by the number of steps on 50,000 images. The hours are an extrapolation, without
evaluation, checkpoints and changes over time.
"""

import math
import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.measurement import (
    CONFIGS,
    LEARNING_RATE,
    NORMALIZATION,
    Row,
    Run,
    interleaved,
    options,
    random_pixels,
    write_record,
)
from benchmarks.search import Ours
from classification.config import ClassifierConfig
from classification.data.loaders import DeviceLoader, ImageSet
from classification.data.transforms import Augmentation
from classification.mixing import MixingContext
from classification.models import build_classifier
from classification.training.schedules import make_sgd
from classification.training.step import AugmentAndMix, Recipe, TrainingStep
from classification.training.trainer import to_device
from pcdarts.search import SearchConfig
from pcdarts.steps import SearchSteps
from pcdarts.supernet import Supernet
from pipeline.config import load_config
from pipeline.device import device_name, keep_freed_memory, resolve_device
from subsample.config import ScoresConfig
from subsample.mixes import draw_mixes
from subsample.uncertainty import score_mixes

IMAGES, CLASSES, SIDE = 50_000, 100, 32
_RECIPES = {"PyramidNet-110": "cifar100.yaml", "fast": "cifar100-fast.yaml"}
_FRACTIONS = (0.1, 1.0)


@dataclass(frozen=True)
class Stage:
    """One step of a stage, and the number of steps of the stage."""

    step: Run
    steps: int


class ScorerTraining:
    """A scorer and a step of its training, as the pipeline trains it, on random images."""

    def __init__(self, config: ClassifierConfig, device: torch.device) -> None:
        classifier = build_classifier(config.model, CLASSES)
        self.model: nn.Module = to_device(classifier, device).train()
        self.optimizer = make_sgd(
            self.model.parameters(), LEARNING_RATE, config.momentum, config.weight_decay, True
        )
        context = MixingContext(NORMALIZATION, self.model, classifier.stages[1:3], config.precision)
        recipe = Recipe(
            epochs=config.epochs,
            learning_rate=LEARNING_RATE,
            schedule=config.make_schedule(),
            prepare=AugmentAndMix(
                Augmentation(NORMALIZATION), config.mixing.build(CLASSES, context)
            ),
            objective=partial(F.cross_entropy, label_smoothing=config.label_smoothing),
            precision=config.precision,
        )
        loader = _loader(config.batch_size, device)
        self._rows = torch.arange(config.batch_size, device=device)
        self._step = TrainingStep(self.model, self.optimizer, recipe, loader)

    def step(self) -> None:
        self.model.train()
        self._step.run(self._rows)


def scorer_stages(name: str, config: ClassifierConfig, device: torch.device) -> dict[str, Stage]:
    """Return the stages of training the scorer and of scoring every image ten times."""
    training, scores = ScorerTraining(config, device), ScoresConfig()
    number = max(1, scores.batch_size // scores.draws)
    anchors, images = torch.arange(number, device=device), _images(2 * number, device)

    def score() -> None:
        training.model.eval()
        mixes = draw_mixes(anchors, images.images, scores, seed=0, block=0)
        score_mixes(
            training.model, images.images, images.labels, CLASSES, NORMALIZATION, scores, mixes
        )

    return {
        f"scorer, {name}, {config.epochs} epochs": Stage(
            training.step, config.epochs * math.ceil(IMAGES / config.batch_size)
        ),
        f"scores, {name}, M = {scores.draws}": Stage(score, math.ceil(IMAGES / number)),
    }


def search_stages(config: SearchConfig, device: torch.device) -> dict[str, Stage]:
    """Return the stages of a search on a tenth and on all images, in and after the warm-up."""
    config = config.model_copy(update={"learning_rate": LEARNING_RATE})
    ours = Ours(Supernet, config, device, num_classes=CLASSES)
    loaders = [_loader(config.batch_size, device) for _ in range(2)]
    work = SearchSteps(
        ours.architect, ours.optimizer, loaders, Augmentation(NORMALIZATION), config.gradient_clip
    )
    rows = torch.arange(config.batch_size, device=device)

    def search() -> None:
        work.architecture(rows)
        work.weights(rows)

    stages = {}
    for fraction in _FRACTIONS:
        steps = math.ceil(IMAGES * fraction / 2 / config.batch_size)
        searching = steps * (config.epochs - config.warmup_epochs)
        stages[f"search, t = {fraction}, after the warm-up"] = Stage(search, searching)
        stages[f"search, t = {fraction}, the warm-up"] = Stage(
            lambda: work.weights(rows), steps * config.warmup_epochs
        )
    return stages


def _images(number: int, device: torch.device) -> ImageSet:
    labels = torch.arange(number, device=device) % CLASSES
    return ImageSet(random_pixels(number, SIDE, device), labels)


def _loader(batch_size: int, device: torch.device) -> DeviceLoader:
    return DeviceLoader(_images(2 * batch_size, device), batch_size, device, training=True)


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
    summary = [
        Row(name, [each * stage.steps / 3600 for each in seconds[name]], "h")
        for name, stage in stages.items()
    ]
    write_record(given.json, device, given, summary, stages=rows)


if __name__ == "__main__":
    main()
