"""Substitute classifiers for gray-box and black-box attacks."""

from collections.abc import Callable

from torch import nn

from classification.errors import ArtifactError, ConfigError
from classification.models import build_classifier
from classification.models.weights import load_classifier_weights
from evaluate.robustness.config import SubstituteConfig


def load_substitute(
    config: SubstituteConfig, own: Callable[[], nn.Module], num_classes: int, key: str
) -> nn.Module:
    """Load the substitute on the CPU; `own` builds the architecture of the classifier under attack.

    It takes images that are normalised as `config.statistics` says.

    Raises ConfigError, naming `key`, if the weights are missing or do not fit.
    """
    model = own() if config.model is None else build_classifier(config.model, num_classes)
    try:
        load_classifier_weights(model, config.weights)
    except ArtifactError as error:
        raise ConfigError(
            f"{key}.weights: {error}; allowed: those of a classifier of {num_classes} classes and "
            f"of {config.model or 'the same architecture as the one under attack'}"
        ) from error
    return model
