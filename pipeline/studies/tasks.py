"""What a study has to make: every stage of every cell once, whatever the number that share it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import torch

from classification.datasets import ImageDataset
from classification.errors import ArtifactError
from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.graph import Stage
from pipeline.runner import Runner
from pipeline.store.store import Artifact, Store
from pipeline.studies.study import Cell

Key = tuple[str, str]  # a stage and its fingerprint
State = Literal["reused", "open", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Task:
    """A stage to be made, under the config of the first cell that needs it."""

    stage: str
    fingerprint: str
    config: PipelineConfig
    cell: str

    @property
    def key(self) -> Key:
        """What tells it from all other tasks."""
        return self.stage, self.fingerprint


class Tasks:
    """The tasks of all cells as a graph, each edge from what is needed to what needs it."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        cells: Sequence[Cell],
        datasets: Sequence[Mapping[str, ImageDataset]],
        store: Store,
        device: torch.device,
        console: Console,
    ) -> None:
        self.graph: nx.DiGraph[Key] = nx.DiGraph()
        self.tasks: dict[Key, Task] = {}
        self.of_cell: list[list[Key]] = []
        self.states: dict[Key, State] = {}
        self.errors: dict[Key, str] = {}
        for cell, images in zip(cells, datasets, strict=True):
            runner = Runner(stages, cell.config, images, store, device, console)
            keys = [(name, runner.keys[name]) for name in runner.order]
            self.of_cell.append(keys)
            for name, key in zip(runner.order, keys, strict=True):
                if key not in self.tasks:
                    self.tasks[key] = Task(*key, cell.config, str(cell))
                    self.graph.add_node(key)
                for need in stages[name].needs(cell.config):
                    if need in runner.keys:
                        self.graph.add_edge((need, runner.keys[need]), key)
        found = {key: _find(key, store) for key in self.tasks}
        for key in nx.topological_sort(self.graph):
            self.states[key] = self._first_state(key, found)

    def ready(self) -> list[Task]:
        """Open tasks all of whose needs stand, in the order of the cells."""
        return [
            task
            for key, task in self.tasks.items()
            if self.states[key] == "open" and all(map(self._stands, self.graph.predecessors(key)))
        ]

    def finish(self, key: Key, error: str | None) -> None:
        """Note how a task ended; after a failure all that needed it is skipped."""
        self.states[key] = "failed" if error else "done"
        if error:
            self.errors[key] = error
            for other in nx.descendants(self.graph, key):
                self.states[other] = "skipped"

    def error_of(self, cell: int) -> str | None:
        """Why a cell is not whole: the first of its stages that failed, and its message."""
        failed = (key for key in self.of_cell[cell] if key in self.errors)
        return next((f"{key[0]}: {self.errors[key]}" for key in failed), None)

    def is_whole(self, cell: int) -> bool:
        """Whether all stages of a cell stand."""
        return all(map(self._stands, self.of_cell[cell]))

    def count(self, *states: State) -> int:
        """How many tasks are in one of these states."""
        return sum(state in states for state in self.states.values())

    def _stands(self, key: Key) -> bool:
        return self.states[key] in ("reused", "done")

    def _first_state(self, key: Key, found: Mapping[Key, Artifact | None]) -> State:
        """Whether a stage's artifact stands; one made from other inputs does not."""
        artifact = found[key]
        if artifact is None:
            return "open"
        inputs = artifact.manifest.get("inputs", {})
        for need in self.graph.predecessors(key):
            needed = found[need] if self.states[need] == "reused" else None
            if needed is None or inputs.get(need[0], {}).get("digest") != needed.digest:
                return "open"
        return "reused"


def _find(key: Key, store: Store) -> Artifact | None:
    """What stands; a damaged artifact, which its stage will make again, does not."""
    try:
        return store.find(*key)
    except ArtifactError:
        return None
