"""The stage graph: what each stage needs, its fingerprints, the order of execution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import networkx as nx
import torch
from pydantic import BaseModel

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import Workspace
from classification.settings import effective_settings
from pipeline.config import Goal, PipelineConfig
from pipeline.store.store import Artifact, fingerprint

SOURCES = ("data", "target")  # the two datasets, which the graph shows beside the stages


class StageSettings(BaseModel, frozen=True, extra="forbid"):
    """What a stage takes from the config: all that it sees of it.

    All of it is fingerprinted but fields marked with `WITHOUT_EFFECT`. A setting that matters in
    some cases only is None, or of another class, in the others.
    """


Settings = TypeVar("Settings", bound=StageSettings)


@dataclass(frozen=True)
class Context(Generic[Settings]):
    """What a stage is given: its settings, the images, earlier stages' results, where to work."""

    settings: Settings
    datasets: Mapping[str, ImageDataset]
    inputs: Mapping[str, Artifact]
    workspace: Workspace
    device: torch.device
    log: Callable[[str], None]

    def input(self, stage: str, name: str) -> Path:
        """The file called `name` in an earlier stage's artifact."""
        return self.inputs[stage].path / name


@dataclass(frozen=True)
class Stage(Generic[Settings]):
    """A step of the pipeline whose result is an artifact.

    `needs` names the stages and datasets it reads under a config; `settings` builds all that `run`
    sees of the config. `check` raises PipelineError, naming the key, for what the stage could not
    do with these datasets on this device, before any stage starts. It is given the whole config,
    because whether a setting is possible may depend on another stage's (a supernet has no last
    layer for `subset.measure`), and because nothing that is refused needs a fingerprint.

    `version` rises when the code makes something else of the same settings. `goal` is the goal of
    the runs that end with this stage; `asked` says whether a config wants the stage beside its
    goal. A `parallel` stage is run by all processes of a run, any other by the first. `section`
    gives `section_of` a config, where it is not the stage's name.
    """

    name: str
    version: int
    needs: Callable[[PipelineConfig], tuple[str, ...]]
    settings: Callable[[PipelineConfig], Settings]
    check: Callable[[PipelineConfig, Mapping[str, ImageDataset], torch.device], None]
    run: Callable[[Context[Settings]], None]
    goal: Goal | None = None
    parallel: bool = False
    asked: Callable[[PipelineConfig], bool] | None = None
    section: Callable[[PipelineConfig], str] | None = None

    def section_of(self, config: PipelineConfig) -> str:
        """The dotted key of the settings that decide how much memory the stage takes."""
        return self.name if self.section is None else self.section(config)


def build_graph(stages: Mapping[str, Stage[Any]], config: PipelineConfig) -> "nx.DiGraph[str]":
    """Stages this config runs, with the datasets they read; each edge points along the data."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in _required(stages, config):
        for need in stages[name].needs(config):
            graph.add_edge(need, name)
    graph.add_edges_from((name, "report") for name in list(graph) if name in stages)
    return graph


def stage_order(graph: "nx.DiGraph[str]", stages: Mapping[str, Stage[Any]]) -> list[str]:
    """The graph's stages, each after all it needs."""
    order = {name: rank for rank, name in enumerate(stages)}
    ranked = nx.lexicographical_topological_sort(graph, key=lambda n: order.get(n, -1))
    return [name for name in ranked if name in stages]


def fingerprints(
    stages: Mapping[str, Stage[Any]], config: PipelineConfig, content: Mapping[str, str]
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
                "settings": effective_settings(stage.settings(config)),
                "inputs": {need: keys[need] for need in stage.needs(config)},
            }
        )
    return {name: key for name, key in keys.items() if name in stages}


def _ends(stage: Stage[Any], config: PipelineConfig) -> bool:
    """Whether a run of this config is not over before the stage is made."""
    return stage.goal == config.goal or (stage.asked is not None and stage.asked(config))


def _required(stages: Mapping[str, Stage[Any]], config: PipelineConfig) -> list[str]:
    """The stages that a config is after and all that they need, in the order of `stages`."""
    wanted, open_ = set(), [name for name, stage in stages.items() if _ends(stage, config)]
    while open_:
        name = open_.pop()
        if name in stages and name not in wanted:
            wanted.add(name)
            open_ += stages[name].needs(config)
    return [name for name in stages if name in wanted]
