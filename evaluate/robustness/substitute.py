"""Substitute classifiers for gray-box and black-box attacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator
from torch import nn

from classification.errors import ArtifactError, ConfigError
from classification.models import MODELS, build_classifier, smallest_classifier_input
from classification.models.weights import load_classifier_weights

Kind = Literal["white-box", "gray-box", "black-box"]


class SubstituteConfig(BaseModel, frozen=True, extra="forbid"):
    """A classifier of the same classes and images, used in place of the one under attack."""

    model: str | None = Field(
        None,
        description="its architecture, for a black-box attack; none: that of the classifier under "
        "attack, for a gray-box attack",
    )
    weights: Path = Field(
        description="its weights: the scorer.safetensors (network.safetensors) of another run, or "
        "a torch checkpoint"
    )

    @field_validator("model")
    @classmethod
    def _known(cls, model: str | None) -> str | None:
        if model is not None and model not in MODELS:
            raise ValueError(f"unknown classifier; allowed: none, {', '.join(MODELS)}")
        return model

    def kind(self, attacked: str) -> Kind:
        """Return the kind of attack on a classifier of architecture `attacked`."""
        return "gray-box" if self.model in (None, attacked) else "black-box"

    def check_image_size(self, image_size: int, key: str) -> None:
        """Raise ConfigError, naming `key`, if images of this size are too small for the model."""
        smallest = 0 if self.model is None else smallest_classifier_input(self.model)
        if image_size < smallest:
            raise ConfigError(
                f"{key}.model: {self.model} needs images of at least {smallest} pixels, found "
                f"{image_size}; allowed: a model for this size"
            )


def load_substitute(
    config: SubstituteConfig, own: Callable[[], nn.Module], num_classes: int, key: str
) -> nn.Module:
    """Load the substitute on the CPU; `own` builds the architecture of the classifier under attack.

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
