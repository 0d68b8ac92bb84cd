"""The stage graph: what each stage needs, its fingerprints, the order of execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from classification.settings import effective_settings
from pipeline.config import Goal, PipelineConfig
from pipeline.store.store import Artifact, fingerprint

if TYPE_CHECKING:
    import networkx as nx
    import torch

    from classification.data.datasets import ImageDataset
    from classification.persistence.workspace import Workspace
    from pipeline.store.parts import Parts

SOURCES = ("data", "target")  # the two datasets, which are nodes of the graph too


class StageSettings(BaseModel, frozen=True, extra="forbid"):
    """The part of the config that a stage sees.

    All of it is fingerprinted except fields marked `WITHOUT_EFFECT`. A setting that matters in some
    cases only is None, or of another class, in the others.
    """


Settings = TypeVar("Settings", bound=StageSettings)


@dataclass(frozen=True)
class Context(Generic[Settings]):
    """The input of a stage: settings, images, results of earlier stages, workspace."""

    settings: Settings
    datasets: Mapping[str, ImageDataset]
    inputs: Mapping[str, Artifact]
    workspace: Workspace
    device: torch.device
    log: Callable[[str], None]
    parts: Parts | None = None
    """Of work that other processes may share; None if this process does all of it."""

    def input(self, stage: str, name: str) -> Path:
        """Return the path of the file `name` in an earlier stage's artifact."""
        return self.inputs[stage].path / name


@dataclass(frozen=True)
class Stage(Generic[Settings]):
    """A step of the pipeline whose result is an artifact.

    `needs` names the stages and datasets it reads under a config; `settings` builds the part of the
    config that `run` sees. `check` runs before any stage starts and raises PipelineError, naming
    the key, if the stage cannot work with these datasets on this device. It gets the whole config,
    because a setting may depend on another stage's (a supernet has no last layer for
    `subset.measure`).

    Increase `version` when the code computes another result from the same settings. `goal` is the
    goal of the runs that end with this stage; `asked` says whether a config requests the stage in
    addition to its goal. A `parallel` stage is run by all processes of a run, any other by the
    first. `help` does parts of the work in a process beside the one that makes the artifact, up to
    `parts` of them under a config. `section` gives `section_of` a config, where it is not the
    stage's name. `trained_on` names the dataset of a network that the stage trains.
    """

    name: str
    version: int
    needs: Callable[[PipelineConfig], tuple[str, ...]]
    settings: Callable[[PipelineConfig], Settings]
    check: Callable[[PipelineConfig, Mapping[str, ImageDataset], torch.device], None]
    run: Callable[[Context[Settings]], None]
    goal: Goal | None = None
    parallel: bool = False
    help: Callable[[Context[Settings]], None] | None = None
    parts: Callable[[PipelineConfig], int] = lambda config: 1
    asked: Callable[[PipelineConfig], bool] | None = None
    section: Callable[[PipelineConfig], str] | None = None
    trained_on: Literal["data", "target"] | None = None

    def section_of(self, config: PipelineConfig) -> str:
        """The dotted key of the settings that decide how much memory the stage takes."""
        return self.name if self.section is None else self.section(config)

    def evaluated(self, datasets: Mapping[str, ImageDataset]) -> str:
        """What the display calls the images that evaluate its network: test, val or held-out."""
        return "test" if self.trained_on is None else datasets[self.trained_on].evaluated

    def preprocessing(
        self, config: PipelineConfig, datasets: Mapping[str, ImageDataset]
    ) -> dict[str, Any]:
        """Return what the manifest records of a trained network's images, so that the network can
        be used without them; nothing for other stages."""
        if self.trained_on is None:
            return {}
        from classification.data.preprocessing import Preprocessing  # imports torch

        images = Preprocessing.of(datasets[self.trained_on], getattr(config, self.trained_on))
        return {"preprocessing": images.model_dump(mode="json")}


def build_graph(stages: Mapping[str, Stage[Any]], config: PipelineConfig) -> nx.DiGraph[str]:
    """Build the graph of a config's stages and the datasets they read; edges follow the data."""
    import networkx as nx  # slow to import, and needed by few commands

    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in _required(stages, config):
        for need in stages[name].needs(config):
            graph.add_edge(need, name)
    graph.add_edges_from((name, "report") for name in list(graph) if name in stages)
    return graph


def stage_order(graph: nx.DiGraph[str], stages: Mapping[str, Stage[Any]]) -> list[str]:
    """Return the graph's stages, each after all that it needs."""
    import networkx as nx  # slow to import, as above

    order = {name: rank for rank, name in enumerate(stages)}
    ranked = nx.lexicographical_topological_sort(graph, key=lambda n: order.get(n, -1))
    return [name for name in ranked if name in stages]


def fingerprints(
    stages: Mapping[str, Stage[Any]], config: PipelineConfig, content: Mapping[str, str]
) -> dict[str, str]:
    """Compute each stage's fingerprint from its settings and the fingerprints of its needs.

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
    """Whether a run of this config needs the stage as a final result."""
    return stage.goal == config.goal or (stage.asked is not None and stage.asked(config))


def _required(stages: Mapping[str, Stage[Any]], config: PipelineConfig) -> list[str]:
    """Return the final stages of a config and all that they need, in the order of `stages`."""
    wanted, open_ = set(), [name for name, stage in stages.items() if _ends(stage, config)]
    while open_:
        name = open_.pop()
        if name in stages and name not in wanted:
            wanted.add(name)
            open_ += stages[name].needs(config)
    return [name for name in stages if name in wanted]
