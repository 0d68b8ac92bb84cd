"""The tasks of a study: each stage of its trials once, even if several trials share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import networkx as nx
import torch

from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import ArtifactError, InterruptedRunError, PipelineError
from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.graph import Stage
from pipeline.inputs import load_datasets
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.store.store import Artifact, Store
from pipeline.studies.study import Trial

StageKey = tuple[str, str]  # a stage and its fingerprint
State = Literal["reused", "open", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Task:
    """A stage to make, with the config of the first trial that needs it."""

    stage: str
    fingerprint: str
    config: PipelineConfig
    trial: str

    @property
    def key(self) -> StageKey:
        return self.stage, self.fingerprint


class Tasks:
    """The tasks of all trials as a graph; edges go from a task to those that need it. They end with
    the stage `until`, if it is not None."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        trials: Sequence[Trial],
        datasets: Sequence[Mapping[str, ImageDataset]],
        store: Store,
        device: torch.device,
        console: Console,
        until: str | None = None,
    ) -> None:
        self.graph: nx.DiGraph[StageKey] = nx.DiGraph()
        self.tasks: dict[StageKey, Task] = {}
        self.of_trial: list[list[StageKey]] = []
        self.states: dict[StageKey, State] = {}
        self.errors: dict[StageKey, str] = {}
        for trial, images in zip(trials, datasets, strict=True):
            runner = Runner(stages, trial.config, images, store, device, console)
            order = Selection(until=until).of(runner.order)
            keys = [(name, runner.keys[name]) for name in order]
            self.of_trial.append(keys)
            for name, key in zip(order, keys, strict=True):
                if key not in self.tasks:
                    self.tasks[key] = Task(*key, trial.config, str(trial))
                    self.graph.add_node(key)
                for need in stages[name].needs(trial.config):
                    if need in runner.keys:
                        self.graph.add_edge((need, runner.keys[need]), key)
        found = {key: _find(key, store) for key in self.tasks}
        for key in nx.topological_sort(self.graph):
            self.states[key] = self._first_state(key, found)

    def ready(self) -> list[Task]:
        """Return the open tasks whose needs are done, in the order of the trials."""
        return [
            task
            for key, task in self.tasks.items()
            if self.states[key] == "open" and all(map(self._stands, self.graph.predecessors(key)))
        ]

    def finish(self, key: StageKey, error: str | None) -> None:
        """Record a task's outcome; after a failure, mark the tasks that need it as skipped."""
        self.states[key] = "failed" if error else "done"
        if error:
            self.errors[key] = error
            for other in nx.descendants(self.graph, key):
                self.states[other] = "skipped"

    def error_of(self, trial: int) -> str | None:
        """Return a trial's first failed stage and its message, or None."""
        failed = (key for key in self.of_trial[trial] if key in self.errors)
        return next((f"{key[0]}: {self.errors[key]}" for key in failed), None)

    def is_whole(self, trial: int) -> bool:
        return all(map(self._stands, self.of_trial[trial]))

    def count(self, *states: State) -> int:
        return sum(state in states for state in self.states.values())

    def _stands(self, key: StageKey) -> bool:
        return self.states[key] in ("reused", "done")

    def _first_state(self, key: StageKey, found: Mapping[StageKey, Artifact | None]) -> State:
        """Return `reused` if a stage's artifact exists and was made from the same inputs."""
        artifact = found[key]
        if artifact is None:
            return "open"
        inputs = artifact.manifest.get("inputs", {})
        for need in self.graph.predecessors(key):
            needed = found[need] if self.states[need] == "reused" else None
            if needed is None or inputs.get(need[0], {}).get("digest") != needed.digest:
                return "open"
        return "reused"


def _find(key: StageKey, store: Store) -> Artifact | None:
    """Return the artifact, or None if it is missing or damaged and has to be made."""
    try:
        return store.find(*key)
    except ArtifactError:
        return None


@cache
def load_once(config: DataConfig, key: str) -> ImageDataset:
    """Load the images of a config once per process, since trials of a study share them."""
    return load_dataset(config, key)


def datasets_of(config: PipelineConfig) -> dict[str, ImageDataset]:
    """Return the datasets that a trial's stages read."""
    return load_datasets(config, load_once)


def make(task: Task, device: str, artifacts: Path, console: Console) -> str | None:
    """Make a task's stage. Returns its error in one line, or None.

    Raises InterruptedRunError if the user interrupts it; other errors end only this task.
    """
    try:
        runner = Runner(
            STAGES,
            task.config,
            datasets_of(task.config),
            Store(artifacts),
            torch.device(device),
            console,
        )
        runner.run(Selection(only=task.stage))
    except InterruptedRunError:
        raise
    except PipelineError as error:
        return in_a_line(error)
    except Exception as error:  # a bug or a failed device must not end the other trials
        return f"{type(error).__name__}: {in_a_line(error)}"
    return None


def in_a_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())
