"""The stages and what each needs, as a networkx DiGraph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import torch

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import Workspace
from pipeline.config import Goal, PipelineConfig
from pipeline.store.store import Artifact, fingerprint

SOURCES = ("data", "target")  # the two datasets, which the graph shows beside the stages


@dataclass(frozen=True)
class Context:
    """What a stage is given: its config, the images, what earlier stages made, where to work."""

    config: PipelineConfig
    datasets: Mapping[str, ImageDataset]
    inputs: Mapping[str, Artifact]
    workspace: Workspace
    device: torch.device
    log: Callable[[str], None]

    def input(self, stage: str, name: str) -> Path:
        """The file called `name` in an earlier stage's artifact."""
        return self.inputs[stage].path / name


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline whose result is an artifact.

    `needs` names the stages and datasets it reads under a config; `settings` is the part of the
    config that decides its result; what is `parallel` is shared by all processes of a run, anything
    else made by the first. `version` rises when the code makes something else of the same
    settings. `goal` is what a run that ends here was after, which decides nothing of the result;
    `asked` says whether a config wants the stage beside its goal.
    """

    name: str
    version: int
    needs: Callable[[PipelineConfig], tuple[str, ...]]
    settings: Callable[[PipelineConfig], Mapping[str, Any]]
    run: Callable[[Context], None]
    goal: Goal | None = None
    parallel: bool = False
    asked: Callable[[PipelineConfig], bool] | None = None


def build_graph(stages: Mapping[str, Stage], config: PipelineConfig) -> "nx.DiGraph[str]":
    """Stages this config runs, with the datasets they read; each edge points along the data."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in _required(stages, config):
        for need in stages[name].needs(config):
            graph.add_edge(need, name)
    graph.add_edges_from((name, "report") for name in list(graph) if name in stages)
    return graph


def stage_order(graph: "nx.DiGraph[str]", stages: Mapping[str, Stage]) -> list[str]:
    """The graph's stages, each after all it needs."""
    order = {name: rank for rank, name in enumerate(stages)}
    ranked = nx.lexicographical_topological_sort(graph, key=lambda n: order.get(n, -1))
    return [name for name in ranked if name in stages]


def fingerprints(
    stages: Mapping[str, Stage], config: PipelineConfig, content: Mapping[str, str]
) -> dict[str, str]:
    """The fingerprint of every stage, from its settings and the fingerprints of all it needs.

    `content` maps dataset names to content hashes.
    """
    keys = dict(content)
    for name in stage_order(build_graph(stages, config), stages):
        stage = stages[name]
        keys[name] = fingerprint(
            {
                "stage": name,
                "version": stage.version,
                "settings": dict(stage.settings(config)),
                "inputs": {need: keys[need] for need in stage.needs(config)},
            }
        )
    return {name: key for name, key in keys.items() if name in stages}


def _ends(stage: Stage, config: PipelineConfig) -> bool:
    """Whether a run of this config is not over before the stage is made."""
    return stage.goal == config.goal or (stage.asked is not None and stage.asked(config))


def _required(stages: Mapping[str, Stage], config: PipelineConfig) -> list[str]:
    """The stages that a config is after and all that they need, in the order of `stages`."""
    wanted, open_ = set(), [name for name, stage in stages.items() if _ends(stage, config)]
    while open_:
        name = open_.pop()
        if name in stages and name not in wanted:
            wanted.add(name)
            open_ += stages[name].needs(config)
    return [name for name in stages if name in wanted]
