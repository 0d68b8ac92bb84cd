"""Scorer: a classifier trained with image mixing, loaded from a file, or the supernet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from classification.acceleration import GraphMode, check_acceleration
from classification.config import SUPERNET, ClassifierConfig
from classification.data.config import AugmentationSettings
from classification.errors import ConfigError
from classification.mixing import MixingConfig
from classification.models.input_statistics import InputStatistics, statistics_beside
from classification.settings import WITHOUT_EFFECT, part_of
from pcdarts.search_config import SupernetConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.store.store import file_digest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from classification.data.datasets import ImageDataset

WEIGHTS = "scorer.safetensors"
WARM_START = "supernet.safetensors"


class TrainedScorer(StageSettings):
    """A classifier trained by the stage."""

    scorer: ClassifierConfig
    augmentation: AugmentationSettings
    seed: int


class WarmedUpSupernet(StageSettings):
    """The search's supernet after its warm-up."""

    search: SupernetConfig
    mixing: MixingConfig
    label_smoothing: float
    graph_mode: GraphMode = Field(json_schema_extra=WITHOUT_EFFECT)
    augmentation: AugmentationSettings
    seed: int


class LoadedScorer(StageSettings):
    """A classifier loaded from a file, identified by the file's digest, not by its path.

    `normalization` is that of the config or of a file beside the weights; if it is None, the
    content of the weights decides.
    """

    model: str
    digest: str
    normalization: InputStatistics | None
    weights: Path = Field(json_schema_extra=WITHOUT_EFFECT)


ScorerSettings = TrainedScorer | WarmedUpSupernet | LoadedScorer


def run(context: Context[ScorerSettings]) -> None:
    """Data → scorer.safetensors, confusion.json, metrics.jsonl; of loaded weights also
    normalization.json.

    With record_losses also training_losses.npy and training_entropies.npy [N, E]; with
    record_dynamics forgetting.npy and aum.npy [N]. A supernet has supernet.safetensors, from which
    the search continues, and no confusion.json, as it is no classifier to use.
    """
    from classification.classifier import (  # slow to import
        load_foreign_scorer,
        read_scorer,
        train_classifier,
    )
    from classification.models.weights import save_classifier_weights
    from classification.persistence.checkpoint import save_checkpoint
    from classification.training.trainer import to_device
    from evaluate.confusion import CONFUSION, count_confusions, save_confusions
    from pcdarts.warm_up import warm_up

    settings, data = context.settings, context.datasets["data"]
    model: nn.Module
    if isinstance(settings, LoadedScorer):
        config = ClassifierConfig(
            model=settings.model, weights=settings.weights, normalization=settings.normalization
        )
        model, statistics = load_foreign_scorer(config, data.num_classes)
        statistics.save(context.workspace.directory)
        context.log(f"scorer loaded from {settings.weights}; its training cost is not included")
    elif isinstance(settings, WarmedUpSupernet):
        model, state = warm_up(
            data,
            settings.search,
            settings.mixing,
            settings.label_smoothing,
            settings.graph_mode,
            seed=settings.seed,
            device=context.device,
            workspace=context.workspace,
        )
        save_checkpoint(context.workspace.path(WARM_START), state)
    else:
        model = train_classifier(
            data,
            settings.scorer,
            seed=settings.seed,
            device=context.device,
            workspace=context.workspace,
        )
    save_classifier_weights(model, context.workspace.path(WEIGHTS))
    if isinstance(settings, WarmedUpSupernet):
        return
    if isinstance(settings, LoadedScorer):  # with its own normalization of the images
        model = read_scorer(settings.model, data, context.workspace.path(WEIGHTS))
    counts = count_confusions(
        to_device(model, context.device),
        data,
        device=context.device,
        world=context.workspace.world,
        precision=settings.scorer.precision if isinstance(settings, TrainedScorer) else "fp32",
    )
    save_confusions(counts, context.workspace.path(CONFUSION))


def settings(config: PipelineConfig) -> ScorerSettings:
    """Return the settings of the config's kind of scorer."""
    scorer = config.scorer
    if scorer.weights is not None:
        digest = file_digest(scorer.weights)
        return LoadedScorer(
            model=scorer.model,
            digest=digest,
            normalization=scorer.normalization or statistics_beside(scorer.weights),
            weights=scorer.weights,
        )
    augmentation = config.data.augmentation
    if scorer.model == SUPERNET:
        return WarmedUpSupernet(
            search=part_of(config.search, SupernetConfig),
            mixing=scorer.mixing,
            label_smoothing=scorer.label_smoothing,
            graph_mode=scorer.graph_mode,
            augmentation=augmentation,
            seed=config.seed,
        )
    return TrainedScorer(scorer=scorer, augmentation=augmentation, seed=config.seed)


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a scorer that cannot be trained or loaded, or that cannot be the goal."""
    from classification.classifier import check_scorer
    from pcdarts.warm_up import check_warm_up

    scorer, data = config.scorer, datasets["data"]
    check_acceleration("scorer", scorer.precision, scorer.cuda_graph, device)
    if config.goal == "classifier" and scorer.weights is not None:
        raise ConfigError(
            f"scorer.weights: found {str(scorer.weights)!r}, but the goal is to train a "
            "classifier; allowed: none with this goal"
        )
    check_scorer(scorer, data)
    if scorer.model != SUPERNET:
        return
    check_acceleration("search", config.search.precision, "auto", device)
    if config.goal == "classifier":
        raise ConfigError(
            "scorer.model: found 'supernet', but the goal is a classifier; allowed: a classifier "
            "with this goal"
        )
    check_warm_up(config.search, data)


class ScorerNetwork(StageSettings):
    """The network of a scorer, for stages that load the scorer's weights."""

    model: str
    supernet: SupernetConfig | None

    @classmethod
    def of(cls, config: PipelineConfig) -> ScorerNetwork:
        """Return the network of the config's scorer."""
        own = config.scorer.model == SUPERNET
        supernet = part_of(config.search, SupernetConfig) if own else None
        return cls(model=config.scorer.model, supernet=supernet)

    def build(self, num_classes: int) -> nn.Module:
        """Build the network with random weights on the CPU."""
        from classification.classifier import build_scorer
        from pcdarts.search import build_supernet

        if self.supernet is not None:
            return build_supernet(num_classes, self.supernet, seed=0)
        return build_scorer(self.model, num_classes, seed=0)

    def read(self, path: Path, dataset: ImageDataset) -> nn.Module:
        """Load the scorer with the stage's weights in `path`, on the CPU, for the dataset's
        normalised images."""
        from classification.classifier import read_scorer
        from pcdarts.warm_up import load_supernet

        if self.supernet is not None:
            return load_supernet(self.supernet, dataset.num_classes, path)
        return read_scorer(self.model, dataset, path)

    def load(self, context: Context[Any]) -> nn.Module:
        """Load the scorer of the earlier stage, on the device."""
        from classification.training.trainer import to_device

        model = self.read(context.input("scorer", WEIGHTS), context.datasets["data"])
        return to_device(model, context.device)


STAGE = Stage(
    "scorer",
    3,
    lambda config: ("data",),
    settings,
    check,
    run,
    goal="classifier",
    parallel=True,
    section=lambda config: "search" if config.scorer.model == SUPERNET else "scorer",
    trained_on="data",
)
