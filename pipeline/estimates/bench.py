"""The folder in which stages are tried: contexts, timings, and placeholders of their results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import Workspace
from classification.progress import silent_log
from pipeline.graph import SOURCES, Context
from pipeline.runner import Runner
from pipeline.store.store import Artifact


class Bench:
    """Runs stages of `runner` in folders below `root`.

    `artifacts` holds the results of earlier stages, made or placeholders; `networks` what a network
    in place of one not found yet consists of (`networks.stand_ins`); `clock` returns seconds;
    `tell` shows that the work advances.
    """

    def __init__(self, runner: Runner, root: Path, clock: Callable[[], float]) -> None:
        self.runner, self.root, self.clock = runner, root, clock
        self.config, self.data = runner.config, runner.datasets["data"]
        self.artifacts: dict[str, Artifact] = {}
        self.networks: dict[int, tuple[Mapping[str, Artifact], float] | None] = {}
        self.tell: Callable[[], None] = lambda: None

    def run(self, name: str, data: ImageDataset, folder: str) -> float:
        """Run the complete stage on these images and return its seconds."""
        context = self.context(name, data, folder)
        elapsed = self.timed(lambda: self.runner.stages[name].run(context))
        self.artifacts[name] = self.stand_in(name, folder)
        return elapsed

    def timed(self, work: Callable[[], object]) -> float:
        """Return the seconds of `work`, including what it leaves to the device."""
        begun = self.clock()
        work()
        if self.runner.device.type == "cuda":
            torch.cuda.synchronize(self.runner.device)
        self.tell()
        return self.clock() - begun

    def context(
        self, name: str, data: ImageDataset, folder: str, settings: Any = None
    ) -> Context[Any]:
        """Return the context of a stage in `folder`, with the config's settings by default."""
        runner = self.runner
        stage = runner.stages[name]
        needs = [need for need in stage.needs(self.config) if need not in SOURCES]
        return Context(
            stage.settings(self.config) if settings is None else settings,
            {**runner.datasets, "data": data},
            {need: self.artifacts[need] for need in needs if need in self.artifacts},
            Workspace(self.root / folder),
            runner.device,
            silent_log,
        )

    def stand_in(self, name: str, folder: str) -> Artifact:
        """Return the contents of `folder` below the root as a stage's artifact."""
        path, key = self.root / folder, self.runner.keys[name]
        path.mkdir(exist_ok=True)
        made_by = {"scorer": {"fingerprint": self.runner.keys.get("scorer", "")}}
        return Artifact(name, key, path, digest="", manifest={"inputs": made_by})

    def by_chance(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return random values in [0, 1), float32 of `shape`."""
        return np.random.default_rng(self.config.seed).random(shape, dtype=np.float32)
