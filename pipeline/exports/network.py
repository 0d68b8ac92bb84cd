"""The trained network in an export: its weights, and a config.json that rebuilds it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError
from torch import nn

from classification.data.datasets import ImageDataset
from classification.data.files import evaluation_side
from classification.data.preprocessing import Preprocessing
from classification.errors import ArtifactError, ConfigError
from classification.models import MODELS, build_classifier
from classification.models.weights import load_classifier_weights, save_classifier_weights
from evaluate.retrain import build_network
from pcdarts.genotype import Genotype
from pcdarts.network import CellNetwork, CifarNetwork, ImageNetNetwork
from pipeline.config import PipelineConfig
from pipeline.exports.recorded_run import RecordedRun
from pipeline.stages.retrain import WEIGHTS as NETWORK_WEIGHTS
from pipeline.stages.retrain import retrained_network
from pipeline.stages.scorer import WEIGHTS as SCORER_WEIGHTS
from pipeline.store.store import MANIFEST
from pipeline.validation import describe_invalid

CONFIG, WEIGHTS = "config.json", "model.safetensors"

_CELLS: dict[str, Callable[..., CellNetwork]] = {
    "cells_cifar": CifarNetwork,
    "cells_imagenet": ImageNetNetwork,
}


class NetworkConfig(BaseModel, frozen=True, extra="forbid"):
    """config.json: what is needed, in addition to the weights, to use a network."""

    format: Literal[1] = Field(1, description="version of this file's format")
    name: str = Field(description="of the run that trained the network")
    architecture: str = Field(
        description="cells_cifar or cells_imagenet, a stack of cells on a stem for small or large "
        f"images; or a classifier: {', '.join(MODELS)}"
    )
    genotype: dict[str, Any] | None = Field(
        None, description="of the cells: cell → node → edge → [operation, source]"
    )
    channels: int | None = Field(None, description="channels of the first cell")
    cells: int | None = Field(None, description="number of cells")
    class_names: tuple[str, ...] = Field(description="classes in the order of the logits")
    image_size: int = Field(description="side of the square RGB images, pixels")
    resize: int = Field(
        description="length in pixels to which the shorter side of an image is resized, "
        "bilinearly, before the centre crop"
    )
    mean: tuple[float, ...] = Field(description="subtracted from each channel, in [0, 1]")
    std: tuple[float, ...] = Field(description="divides each channel after the subtraction")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def build(self) -> nn.Module:
        """Build the untrained network, in eval mode. Raises ArtifactError for a bad genotype."""
        if self.architecture not in _CELLS:
            return build_classifier(self.architecture, self.num_classes).eval()
        genotype = Genotype.from_dict(self.genotype, CONFIG)
        return _CELLS[self.architecture](
            genotype,
            self.num_classes,
            channels=self.channels,
            cells=self.cells,
            auxiliary=False,
        ).eval()

    def to_json(self) -> str:
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


@dataclass(frozen=True)
class TrainedNetwork:
    """A run's final network, in eval mode on the CPU, without parts used only in training.

    For normalised images [N, 3, H, W], a classifier returns its logits, and a stack of cells the
    pair of its logits and None. `stage` is the stage that trained it.
    """

    network: nn.Module
    config: NetworkConfig
    dataset: ImageDataset
    stage: str


def network_stage(config: PipelineConfig) -> str | None:
    """Return the stage that trains a run's final network; None if the goal is not a network."""
    return {"network": "retrain", "classifier": "scorer"}.get(config.goal)


def trained_network(run: RecordedRun) -> TrainedNetwork:
    """Return the retrained network, or the classifier, with the weights that were tested.

    Reads the images that it was trained on, which must not have changed.
    """
    stage, key = _trained_by(run)
    dataset = run.dataset(key, run.artifact(stage))
    network, config = _load(run, stage, Preprocessing.of(dataset, getattr(run.config, key)))
    return TrainedNetwork(network, config, dataset, stage)


def recorded_network(run: RecordedRun) -> tuple[nn.Module, Preprocessing]:
    """Return the network of `trained_network`, and how it sees images, as recorded with it.

    Reads no images, unless an earlier version of this program trained it. Raises ConfigError if
    runs of this goal train no network, ArtifactError if it is not trained yet or damaged.
    """
    if network_stage(run.config) is None:
        raise ConfigError(
            f"{run.config.name}: trains no network to use, because its goal is a "
            f"{run.config.goal}; allowed: runs whose goal is a network or a classifier"
        )
    stage, key = _trained_by(run)
    artifact = run.artifact(stage)
    recorded = artifact.manifest.get("preprocessing")
    if recorded is None:
        preprocessing = Preprocessing.of(run.dataset(key, artifact), getattr(run.config, key))
    else:
        try:
            preprocessing = Preprocessing.model_validate(recorded).under(getattr(run.config, key))
        except ValidationError as error:
            problem = describe_invalid(error, Preprocessing)
            raise ArtifactError(f"{artifact.path / MANIFEST}: preprocessing: {problem}") from error
    return _load(run, stage, preprocessing)[0], preprocessing


def save_network(trained: TrainedNetwork, folder: Path) -> None:
    """Write model.safetensors."""
    save_classifier_weights(trained.network, folder / WEIGHTS)


def load_network(folder: Path) -> tuple[nn.Module, NetworkConfig]:
    """Load what `export --as safetensors` wrote to `folder`, in eval mode on the CPU.

    Raises ArtifactError if a file is missing or damaged, or if the two do not match.
    """
    path = folder / CONFIG
    try:
        config = NetworkConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise ArtifactError(f"{path}: {describe_invalid(error, NetworkConfig)}") from error
    network = config.build()
    load_classifier_weights(network, folder / WEIGHTS)
    return network, config


def _trained_by(run: RecordedRun) -> tuple[str, Literal["data", "target"]]:
    """Return the stage that trained the final network, and the dataset."""
    return ("retrain", "target") if network_stage(run.config) == "retrain" else ("scorer", "data")


def _load(run: RecordedRun, stage: str, images: Preprocessing) -> tuple[nn.Module, NetworkConfig]:
    """Load the network in eval mode, and describe it."""
    artifact = run.artifact(stage)
    if stage == "scorer":
        config = _describe(run, run.config.scorer.model, images)
        network = config.build()
        load_classifier_weights(network, artifact.path / SCORER_WEIGHTS)
        return network, config
    genotype, settings = retrained_network(run.config.retrain, artifact)
    network = build_network(genotype, settings, len(images.class_names))
    load_classifier_weights(network, artifact.path / NETWORK_WEIGHTS)
    assert isinstance(network, CellNetwork)
    network.auxiliary_head = None  # used only in training
    cells = {
        "genotype": genotype.to_dict(),
        "channels": settings.channels,
        "cells": settings.cells,
    }
    config = _describe(run, f"cells_{settings.network}", images)
    return network.eval(), config.model_copy(update=cells)


def _describe(run: RecordedRun, architecture: str, images: Preprocessing) -> NetworkConfig:
    size = images.image_size
    return NetworkConfig(
        name=run.config.name,
        architecture=architecture,
        class_names=tuple(map(_utf8, images.class_names)),
        image_size=size,
        resize=evaluation_side(size) if images.fit == "crop" else size,
        mean=images.mean,
        std=images.std,
    )


def _utf8(name: str) -> str:
    """A folder's name, and so a class's, need not be UTF-8, which the exported files have to be."""
    return name.encode("utf-8", "backslashreplace").decode()
