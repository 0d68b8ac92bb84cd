"""A brief training from scratch, the same for all architectures that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator, model_validator

from classification.errors import ConfigError
from evaluate.retrain_config import RetrainConfig
from pcdarts.network_kind import check_network_input

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset

# Without regularisation, so that only the architectures differ.
_BRIEF: dict[str, Any] = {
    "channels": 16,
    "cells": 8,
    "epochs": 20,
    "batch_size": 96,
    "auxiliary_weight": 0.0,
    "drop_path": 0.0,
    "cutout": 0,
}


class BriefTraining(BaseModel, frozen=True, extra="forbid"):
    """The training of each architecture in a comparison."""

    training: RetrainConfig = Field(
        default_factory=lambda: RetrainConfig.model_validate(_BRIEF),
        description="of each architecture; defaults: 16 channels, 8 cells, 20 epochs, batches of "
        "96, no auxiliary head, path dropout or Cutout",
    )

    @model_validator(mode="before")
    @classmethod
    def _brief(cls, values: Any) -> Any:
        given = values.get("training", {}) if isinstance(values, dict) else None
        return values | {"training": _BRIEF | given} if isinstance(given, dict) else values

    @field_validator("training")
    @classmethod
    def _holds_nothing_out(cls, training: RetrainConfig) -> RetrainConfig:
        if training.validation_fraction:
            raise ValueError(
                f"validation_fraction {training.validation_fraction} has no effect, because the "
                "last epoch is ranked; allowed: 0"
            )
        return training

    def check(self, key: str, dataset: ImageDataset, source: str, images: int, what: str) -> None:
        """Raise ConfigError if a network cannot train on `images` of the dataset.

        `key` is the config's key, `source` the dataset's, and `what` describes the images.
        """
        training = self.training
        training.mixing.check()
        check_network_input(training.network, dataset.image_size, source)
        if images < training.batch_size:
            raise ConfigError(
                f"{key}.training.batch_size: {training.batch_size} exceeds the {images} {what}; "
                "allowed: at most this number"
            )
