"""Settings of the fidelity of a subset: the architectures that are ranked, and their training."""

from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator

from evaluate.retrain_config import RetrainConfig

# A short training, identical for all, so that only the architectures differ.
_BRIEF: dict[str, Any] = {
    "channels": 16,
    "cells": 8,
    "epochs": 20,
    "batch_size": 96,
    "auxiliary_weight": 0.0,
    "drop_path": 0.0,
    "cutout": 0,
}


class FidelityConfig(BaseModel, frozen=True, extra="forbid"):
    """The number of architectures to rank, and their training."""

    architectures: int = Field(24, ge=3, description="drawn at random from the search space")
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
