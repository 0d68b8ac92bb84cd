"""Baseline: other measures than losses under mixing, from the scorer's outputs or features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from classification.acceleration import check_acceleration
from classification.config import SUPERNET, ClassifierConfig
from classification.data.config import AugmentationSettings
from classification.errors import ConfigError, PipelineError
from classification.settings import WITHOUT_EFFECT
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.scorer import ScorerNetwork
from subsample.measures import OF_EARLY, OF_TRAINING, DropoutConfig, Measure

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from classification.data.datasets import ImageDataset
    from classification.data.loaders import ImageSet
    from classification.models.network import Classifier

VALUES = "values.npy"
_OF_FEATURES = ("mc_dropout", "k_center", "moderate")  # measures that use a classifier's last layer


class RecordedSettings(StageSettings):
    """A measure that the scorer's training recorded."""

    measure: Measure


class BaselineSettings(RecordedSettings):
    """The measure and its network."""

    scorer: ScorerNetwork
    batch_size: int = Field(json_schema_extra=WITHOUT_EFFECT)


class EarlySettings(RecordedSettings):
    """A measure of networks that the stage trains."""

    recipe: ClassifierConfig
    networks: int
    augmentation: AugmentationSettings
    seed: int
    batch_size: int = Field(json_schema_extra=WITHOUT_EFFECT)


class DropoutSettings(BaselineSettings):
    """The only measure with random draws."""

    dropout: DropoutConfig
    seed: int


def run(context: Context[RecordedSettings]) -> None:
    """Data, scorer → values.npy float32 [N]; images with the highest values are kept."""
    from classification.persistence.arrays import save_array  # slow to import

    settings = context.settings
    if isinstance(settings, BaselineSettings):
        values = _measure(context, settings)
    elif isinstance(settings, EarlySettings):
        values = _train(context, settings)
    else:
        values = _recorded(context)
    save_array(context.workspace.path(VALUES), values)


def _measure(context: Context[Any], settings: BaselineSettings) -> np.ndarray:
    from classification.models.network import Classifier  # slow to import
    from subsample.baselines import el2n, prediction_entropy

    data = context.datasets["data"]
    train = data.in_memory().to(context.device)
    model = settings.scorer.load(context)
    images, normalization = train.images, data.normalization
    batch, progress = settings.batch_size, context.workspace.progress
    if settings.measure == "el2n":
        values = el2n(model, images, train.labels, normalization, batch, progress)
    elif settings.measure in ("entropy", "entropy_low"):
        entropies = prediction_entropy(model, images, normalization, batch, progress)
        values = entropies if settings.measure == "entropy" else -entropies
    else:
        assert isinstance(model, Classifier)  # `check` rejects a supernet
        values = _by_features(context, model, train)
    return values.cpu().numpy()


def _train(context: Context[Any], settings: EarlySettings) -> np.ndarray:
    from subsample.early import early_values

    return early_values(
        settings.measure,
        context.datasets["data"],
        settings.recipe,
        settings.networks,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
        batch_size=settings.batch_size,
    ).numpy()


def _recorded(context: Context[RecordedSettings]) -> np.ndarray:
    import numpy as np

    from classification.persistence.arrays import read_array
    from classification.training.dynamics import AUM, FORGETTING

    measure = context.settings.measure
    values = read_array(context.input("scorer", FORGETTING if measure == "forgetting" else AUM), 1)
    if not np.isfinite(values).all():
        raise PipelineError(
            f"subset.measure: {measure} got values from the scorer's training that are not finite; "
            "allowed: a scorer whose training did not diverge"
        )
    return -values if measure == "aum_low" else np.array(values)


def settings(config: PipelineConfig) -> RecordedSettings:
    """Return the settings of the stage."""
    if config.subset.measure in OF_TRAINING:
        return RecordedSettings(measure=config.subset.measure)
    if config.subset.measure in OF_EARLY:
        return EarlySettings(
            measure=config.subset.measure,
            recipe=early_recipe(config),
            networks=config.subset.early.networks,
            augmentation=config.data.augmentation,
            seed=config.seed,
            batch_size=config.scores.batch_size,
        )
    plain = BaselineSettings(
        measure=config.subset.measure,
        scorer=ScorerNetwork.of(config),
        batch_size=config.scores.batch_size,
    )
    if plain.measure != "mc_dropout":
        return plain
    return DropoutSettings(**dict(plain), dropout=config.subset.dropout, seed=config.seed)


def early_recipe(config: PipelineConfig) -> ClassifierConfig:
    """Return the scorer's recipe, stopped early; nothing is recorded or tested on the way."""
    epoch = config.subset.early.epoch
    changes = {"record_losses": False, "record_dynamics": False, "test_every": epoch}
    return config.scorer.model_copy(update={"stop_epoch": epoch} | changes)


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject images in files, a supernet for measures that use a classifier's last layer, a scorer
    that does not record what the measure needs, and a recipe that networks cannot be trained by."""
    datasets["data"].in_memory()
    if config.subset.measure in OF_EARLY:
        _check_early(config, datasets["data"], device)
    if config.subset.measure in OF_TRAINING and not config.scorer.record_dynamics:
        scorer = config.scorer
        why = (
            "the scorer is loaded, and its training was not recorded"
            if scorer.weights is not None
            else "the scorer does not record its training"
        )
        raise ConfigError(
            f"subset.measure: found {config.subset.measure!r}, but {why}; allowed: other measures, "
            "or a scorer trained with scorer.record_dynamics true"
        )
    if config.scorer.model == SUPERNET and config.subset.measure in _OF_FEATURES:
        raise ConfigError(
            f"subset.measure: found {config.subset.measure!r}, which uses a classifier's last "
            "layer; allowed: other measures with scorer.model supernet"
        )


def _check_early(config: PipelineConfig, data: ImageDataset, device: torch.device) -> None:
    from classification.classifier import check_scorer

    scorer, measure = config.scorer, config.subset.measure
    if scorer.weights is not None or scorer.model == SUPERNET:
        found = "is loaded" if scorer.weights is not None else "is a supernet"
        raise ConfigError(
            f"subset.measure: found {measure!r}, which trains networks by the scorer's recipe, but "
            f"the scorer {found}; allowed: a classifier trained here, or other measures"
        )
    epoch = config.subset.early.epoch
    if epoch is not None and epoch > scorer.epochs:
        raise ConfigError(
            f"subset.early.epoch: found {epoch}, but the scorer's recipe has {scorer.epochs} "
            "epochs; allowed: at most this number"
        )
    check_acceleration("scorer", scorer.precision, scorer.cuda_graph, device)
    check_scorer(scorer, data)


def _by_features(context: Context[Any], model: Classifier, train: ImageSet) -> Tensor:
    """Compute a measure that uses a classifier's last layer."""
    from subsample.baselines import dropout_uncertainty, extract_features
    from subsample.coreset import k_center_ranks
    from subsample.moderate import moderate_values

    settings, normalization = context.settings, context.datasets["data"].normalization
    batch, progress = settings.batch_size, context.workspace.progress
    if isinstance(settings, DropoutSettings):
        dropout, seed = settings.dropout, settings.seed
        return dropout_uncertainty(
            model, train.images, normalization, dropout, seed, batch, progress
        )
    name = settings.measure
    features = extract_features(model, train.images, normalization, batch, progress, name)
    if name == "moderate":
        return moderate_values(features, train.labels)
    return -k_center_ranks(features, train.labels).float()


STAGE = Stage(
    "baseline",
    1,
    lambda config: ("data",) if config.subset.measure in OF_EARLY else ("data", "scorer"),
    settings,
    check,
    run,
    section=lambda config: "scorer" if config.subset.measure in OF_EARLY else "scores",
)
