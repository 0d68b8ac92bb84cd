"""A recorded run, read for exports and predictions: config, artifacts and images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import networkx as nx

from classification.data.datasets import ImageDataset, load_dataset
from classification.errors import ArtifactError, resume_with
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph, stage_order
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.store import Artifact, Store


@dataclass(frozen=True)
class RecordedRun:
    """A run's folder, and the store of its artifacts."""

    folder: RunFolder
    store: Store

    @cached_property
    def config(self) -> PipelineConfig:
        return self.folder.config()

    @cached_property
    def stages(self) -> dict[str, str]:
        """The fingerprint of each stage's artifact, made or not."""
        return dict(self.folder.manifest()["stages"])

    def stages_behind(self, stage: str) -> list[str]:
        """Return the stages that `stage` depends on, in order, with itself last."""
        graph = build_graph(STAGES, self.config)
        needed = nx.ancestors(graph, stage) | {stage}
        return [name for name in stage_order(graph, STAGES) if name in needed]

    @property
    def why_absent(self) -> str:
        """The reason why a stage that `stages` lacks is no part of the run."""
        if self.config.goal == "network" and self.config.genotype is not None:
            return "its genotype is given and not searched"
        return f"its goal is a {self.config.goal}"

    def artifact(self, stage: str) -> Artifact:
        """Return a stage's verified artifact. Raises ArtifactError if it is not made yet."""
        artifact = self.store.find(stage, self.stages[stage])
        if artifact is None:
            name, root = self.config.name, self.store.root
            again = resume_with(self.folder.resume_command(root, name))
            if self.folder.is_running:
                again = f"it is still running; see: {self.folder.status_command}"
            raise ArtifactError(f"{name}: the run has no {stage} yet; {again}")
        return artifact

    def dataset(self, key: Literal["data", "target"], artifact: Artifact) -> ImageDataset:
        """Read the images that `artifact` was made from again.

        Raises ArtifactError if they have changed, DataError if they are missing.
        """
        dataset = load_dataset(getattr(self.config, key), key)
        expected = artifact.manifest["inputs"][key]["content_hash"]
        if dataset.content_hash != expected:
            raise ArtifactError(
                f"{key}: {dataset.name} has changed since the run: its content hash was "
                f"{expected:.12} and is {dataset.content_hash:.12}; allowed: the same images"
            )
        return dataset

    def path(self, stage: str, name: str) -> Path:
        return self.artifact(stage).path / name
