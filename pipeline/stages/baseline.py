"""Baseline: what another measure than the losses under mixing says of every training image."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from classification.data.loaders import ImageSet
from classification.models.network import Classifier
from classification.persistence.arrays import save_array
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import load_trained
from subsample.baselines import dropout_uncertainty, el2n, extract_features
from subsample.coreset import k_center_ranks

VALUES = "values.npy"
OF_FEATURES = ("mc_dropout", "k_center")  # measures that look at a classifier's last layer


def run(context: Context) -> None:
    """Data, scorer → values.npy float32 [N], the images to keep highest."""
    config, data = context.config, context.datasets["data"]
    train = data.in_memory().to(context.device)
    model = load_trained(context)
    images, normalization = train.images, data.normalization
    batch, progress = config.scores.batch_size, context.workspace.progress
    if config.subset.measure == "el2n":
        values = el2n(model, images, train.labels, normalization, batch, progress)
    else:
        assert isinstance(model, Classifier)  # `check_inputs` refuses a supernet here
        values = _by_features(context, model, train)
    save_array(context.workspace.path(VALUES), values.cpu().numpy())


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """Only dropout draws anything."""
    measure = config.subset.measure
    if measure != "mc_dropout":
        return {"measure": measure}
    dropout = config.subset.dropout.model_dump(mode="json")
    return {"measure": measure, "dropout": dropout, "seed": config.seed}


def _by_features(context: Context, model: Classifier, train: ImageSet) -> Tensor:
    """Of the measures that look at a classifier's last layer."""
    config, normalization = context.config, context.datasets["data"].normalization
    batch, progress = config.scores.batch_size, context.workspace.progress
    if config.subset.measure == "mc_dropout":
        dropout = config.subset.dropout
        return dropout_uncertainty(
            model, train.images, normalization, dropout, config.seed, batch, progress
        )
    features = extract_features(model, train.images, normalization, batch, progress)
    return -k_center_ranks(features, train.labels).float()


STAGE = Stage("baseline", 1, lambda config: ("data", "scorer"), settings, run)
