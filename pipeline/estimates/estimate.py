"""Estimates the hours and memory of a run on the current device.

The inputs of a stage come from the store or, if not made yet, are placeholders of the same size: a
briefly trained scorer, random losses and random networks. As networks differ in cost, retraining
is tried with a light, a medium and a heavy one. All files are written to a temporary folder: the
store, its ledger and the runs are only read.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classification.data.datasets import ImageDataset
from classification.persistence.arrays import save_array
from classification.persistence.workspace import Workspace, finished_steps
from classification.progress import silent_log
from classification.seeding import make_generator
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from pcdarts.genotype import Genotype, random_genotype
from pipeline.device import device_kind
from pipeline.estimates import SECONDS
from pipeline.estimates.brief_images import Meter
from pipeline.estimates.trial import (
    MEASURED,
    epoch_steps,
    kinds_of_epochs,
    remaining,
    trains,
    try_images,
    try_training,
)
from pipeline.failure import failure_of
from pipeline.graph import SOURCES, Context
from pipeline.runner import Action, Runner, Selection, Step
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from pipeline.stages.search import GENOTYPE
from pipeline.stages.subset import num_kept
from pipeline.store.ledger import Cost
from pipeline.store.stopwatch import peak_memory
from pipeline.store.store import Artifact

_NETWORKS = 101  # drawn at random, three of which replace the network not yet found
_PATIENCE = 10  # multiple of the measuring time after which no further network is tried
_LAYERS = {
    "max_pool_3x3": 1,
    "avg_pool_3x3": 1,
    "skip_connect": 0,
    "sep_conv_3x3": 4,
    "sep_conv_5x5": 4,
    "dil_conv_3x3": 2,
    "dil_conv_5x5": 2,
}
_BEFORE_RETRAINING = ("scorer", "scores", "baseline", "subset", "search")
_NOT_TRIED = {
    "ranking": "it trains many networks of different cost",
    "robustness": "the cost of an attack depends on the trained weights",
    "landscape": "the number of steps depends on the trained weights",
}


@dataclass(frozen=True)
class StageEstimate:
    """The expected cost of a stage in device-hours, None if not estimated; `low` and `high` are
    the range over the networks tried, if there are several."""

    stage: str
    action: Action
    hours: float | None
    low: float | None = None
    high: float | None = None
    peak_memory_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True)
class RunEstimate:
    """The stages of a run, in order."""

    stages: tuple[StageEstimate, ...]

    @property
    def total(self) -> float:
        """Device-hours of all stages that are estimated."""
        return self._sum([each.stage for each in self.stages])

    @property
    def before_retraining(self) -> float:
        """Device-hours of the search and the stages before it."""
        return self._sum(_BEFORE_RETRAINING)

    @property
    def search_alone(self) -> float:
        """Device-hours of the search, which is what papers report."""
        return self._sum(["search"])

    @property
    def not_estimated(self) -> list[str]:
        """Stages that are not estimated and so not in the totals."""
        return [each.stage for each in self.stages if each.hours is None]

    def _sum(self, stages: Sequence[str]) -> float:
        return sum(each.hours or 0.0 for each in self.stages if each.stage in stages)


def estimate(
    runner: Runner, seconds: float = SECONDS, clock: Callable[[], float] = time.perf_counter
) -> RunEstimate:
    """Try every stage that the runner would run, for about `seconds` of `clock` per kind of step.

    Raises PipelineError for failures that would end the run too, such as too little GPU memory.
    """
    with TemporaryDirectory(prefix="estimate-") as folder:
        trials = _Trials(runner, Path(folder), seconds, clock)
        return RunEstimate(tuple(map(trials.estimate, runner.plan(Selection()))))


class _Trials:
    """Tries the stages of a run one after the other in folders below `root`."""

    def __init__(
        self, runner: Runner, root: Path, seconds: float, clock: Callable[[], float]
    ) -> None:
        self._runner, self._root, self._seconds, self._clock = runner, root, seconds, clock
        self._config, self._data = runner.config, runner.datasets["data"]
        self._artifacts: dict[str, Artifact] = {}

    def estimate(self, step: Step) -> StageEstimate:
        """Return the expected cost of the step's stage; keeps its output for later stages."""
        name, runner = step.stage, self._runner
        if step.action == "reuse":
            artifact = runner.store.find(name, step.fingerprint)
            assert artifact is not None  # the plan has just found it
            self._artifacts[name] = artifact
            cost = Cost.of(runner.store.ledger.attempts([step.fingerprint]))
            return StageEstimate(name, step.action, 0.0, note=f"made for {cost}")
        if name in _NOT_TRIED:
            return StageEstimate(name, step.action, None, note=_NOT_TRIED[name])
        runner.console.log(f"{name:8} measuring")
        if runner.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(runner.device)
        try:
            seconds = self._try(step)
        except Exception as error:
            section, attempt = runner.stages[name].section_of(self._config), runner.attempt(name)
            problem = failure_of(error, name, section, attempt, self._config, self._root)
            if problem is None or problem is error:
                raise
            raise problem from error
        hours = sorted(each / 3600 * runner.world.size for each in seconds)
        several = len(hours) > 1
        return StageEstimate(
            name,
            step.action,
            median(hours),
            hours[0] if several else None,
            hours[-1] if several else None,
            self._peak_memory(name),
            "depends on the network found" if several else "",
        )

    def _peak_memory(self, stage: str) -> int:
        kind = device_kind(self._runner.device)
        peak = peak_memory(kind)
        if kind == "gpu" and stage in ("scores", "baseline"):
            peak += self._data.in_memory().images.nbytes  # the run keeps all images on the GPU
        return peak

    def _try(self, step: Step) -> list[float]:
        """Return the seconds of the stage for each network tried."""
        name = step.stage
        if name == "retrain" and "search" not in self._artifacts:
            seconds, begun = [], self._clock()
            for number, genotype in enumerate(_middling_light_heavy(self._config.seed)):
                self._artifacts["search"] = self._stand_in("search", f"search-{number}")
                genotype.save(self._artifacts["search"].path / GENOTYPE)
                seconds.append(self._train(step, f"retrain-{number}"))
                if self._clock() - begun > _PATIENCE * self._seconds:
                    break  # single steps take longer than the time for measuring
            return seconds
        if trains(name, self._config):
            return [self._train(step, name)]
        if name == "baseline" or (name == "scores" and self._config.scores.source == "pass"):
            return [self._pass_over_images(name)]
        return [self._run(name, self._data, name)]

    def _train(self, step: Step, folder: str) -> float:
        name, config = step.stage, self._config
        trial = try_training(
            self._runner.stages[name],
            config,
            self._context(name, self._data, folder),
            Meter(self._runner.device, self._seconds / MEASURED, self._clock),
        )
        if name != "retrain":  # the result of a few steps of search is arbitrary
            self._artifacts |= {} if name == "search" else {name: self._stand_in(name, folder)}
        if name == "scorer" and config.scores.source == "training":
            shape = (len(self._data.train), config.scorer.trained_epochs)
            for file in (TRAINING_LOSSES, TRAINING_ENTROPIES):
                save_array(self._root / folder / file, self._by_chance(shape))
        kinds = kinds_of_epochs(name, config, epoch_steps(name, config, self._num_trained(name)))
        done = finished_steps(self._runner.store.workspace(name, step.fingerprint))
        return trial.seconds(remaining(kinds, done))

    def _num_trained(self, stage: str) -> int:
        """Return the images per epoch: half if α and β have no separate images."""
        if stage not in ("search", "probe"):
            return len(self._images_of(stage))
        kept = num_kept(self._config, self._data)
        halved = stage == "search" and self._config.subset.architecture_fraction is None
        return -(-kept // 2) if halved else kept

    def _images_of(self, stage: str) -> Tensor:
        return self._runner.datasets["target" if stage == "retrain" else "data"].train.labels

    def _pass_over_images(self, name: str) -> float:
        """Time a stage whose cost is proportional to the images, on some of them."""
        labels, measure = self._data.train.labels, self._config.subset.measure
        by_class = name == "baseline" and measure == "k_center"  # proportional to complete classes

        def run(number: int) -> float:
            part = _portion(labels, number, by_class)
            elapsed = self._run(name, self._data.with_train(part.tolist()), f"{name}-{number}")
            return elapsed * number / len(part)

        seconds = try_images(run, len(labels), self._seconds)
        shape = (len(labels), self._config.scores.draws)
        self._artifacts[name] = self._stand_in(name, name)
        drawn = self._by_chance(shape if name == "scores" else shape[:1])
        save_array(self._root / name / (LOSSES if name == "scores" else VALUES), drawn)
        return seconds

    def _run(self, name: str, data: ImageDataset, folder: str) -> float:
        """Run the complete stage on these images and return its seconds."""
        context = self._context(name, data, folder)
        begun = self._clock()
        self._runner.stages[name].run(context)
        if self._runner.device.type == "cuda":
            torch.cuda.synchronize(self._runner.device)
        elapsed = self._clock() - begun
        self._artifacts[name] = self._stand_in(name, folder)
        return elapsed

    def _context(self, name: str, data: ImageDataset, folder: str) -> Context[Any]:
        runner = self._runner
        stage = runner.stages[name]
        needs = [need for need in stage.needs(self._config) if need not in SOURCES]
        return Context(
            stage.settings(self._config),
            {**runner.datasets, "data": data},
            {need: self._artifacts[need] for need in needs},
            Workspace(self._root / folder),
            runner.device,
            silent_log,
        )

    def _stand_in(self, name: str, folder: str) -> Artifact:
        """Return the contents of `folder` below the root as a stage's artifact."""
        path, key = self._root / folder, self._runner.keys[name]
        path.mkdir(exist_ok=True)
        made_by = {"scorer": {"fingerprint": self._runner.keys.get("scorer", "")}}
        return Artifact(name, key, path, digest="", manifest={"inputs": made_by})

    def _by_chance(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(self._config.seed).random(shape, dtype=np.float32)


def _middling_light_heavy(seed: int) -> list[Genotype]:
    """Draw random networks; return the median, 10th and 90th percentile by number of layers."""
    generator = make_generator(seed, "estimate-networks")
    drawn = [random_genotype(generator) for _ in range(_NETWORKS)]
    ranked = sorted(drawn, key=_layers)
    return [ranked[round(share * (_NETWORKS - 1))] for share in (0.5, 0.1, 0.9)]


def _layers(genotype: Genotype) -> int:
    """Count the convolutions and poolings of a network of eight cells, two of them reductions."""
    return sum(
        times * _LAYERS[edge.operation]
        for cell, times in ((genotype.normal, 6), (genotype.reduce, 2))
        for node in cell
        for edge in node
    )


def _portion(labels: Tensor, number: int, by_class: bool) -> Tensor:
    """Return indices of `number` images spread over all, or of the first classes with as many."""
    if not by_class:
        return torch.linspace(0, len(labels) - 1, number, dtype=torch.float64).round().long()
    ends = labels.bincount().cumsum(0)
    last = int(torch.searchsorted(ends, number))
    return (labels <= last).nonzero().flatten()
