"""Settings of the found network's training from scratch (Xu et al. 2020; Liu et al. 2019)."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from classification.acceleration import Precision
from classification.mixing import MixingConfig
from classification.settings import ADDED_LATER, WITHOUT_EFFECT, shorten_warm_ups
from classification.training.class_balance import (
    BETA,
    ClassWeights,
    ClassWeightsBeta,
    Sampler,
    refuse_balancing_twice,
    refuse_unused_beta,
)

# Defaults by network kind: section 4 of the method's specification.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "cifar": {
        "channels": 36,
        "cells": 20,
        "epochs": 600,
        "batch_size": 128,
        "learning_rate": 0.025,
        "schedule": "cosine",
        "warmup_epochs": 0,
        "weight_decay": 3e-4,
        "label_smoothing": 0.0,
        "drop_path": 0.3,
        "hue": 0.0,
    },
    "imagenet": {
        "channels": 48,
        "cells": 14,
        "epochs": 250,
        "batch_size": 1024,
        "learning_rate": 0.5,
        "schedule": "linear",
        "warmup_epochs": 5,
        "weight_decay": 3e-5,
        "label_smoothing": 0.1,
        "drop_path": 0.0,
        "cutout": 0,
        "hue": 0.2,
        "checkpoint_steps": 500,
    },
}


class RetrainConfig(BaseModel, frozen=True, extra="forbid"):
    """The network built from the genotype, and its training. Defaults follow `network`."""

    network: Literal["cifar", "imagenet"] = Field("cifar", description="stem and stage layout")
    channels: int = Field(gt=0, multiple_of=2, description="initial channels; 36 or 48")
    cells: int = Field(ge=3, description="20 or 14")
    epochs: int = Field(gt=0, description="passes over the target's training images; 600 or 250")
    batch_size: int = Field(gt=1, description="images; 128 or 1024")
    learning_rate: float = Field(gt=0, description="of SGD; 0.025 or 0.5")
    schedule: Literal["cosine", "linear"] = Field(description="decay to zero")
    warmup_epochs: int = Field(
        ge=0,
        description="linear warm-up before a linear decay; 0 or 5, fewer if `epochs` is no more",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(ge=0, description="of SGD; 3e-4 or 3e-5")
    gradient_clip: float = Field(5.0, gt=0, description="largest gradient norm")
    auxiliary_weight: float = Field(0.4, ge=0, description="of the auxiliary head's loss; 0: none")
    drop_path: float = Field(ge=0, lt=1, description="path dropout at the last epoch; 0.3 or 0")
    cutout: int | None = Field(
        None, ge=0, description="side of the blanked square, pixels; half the image (16 at 32×32)"
    )
    hue: float = Field(
        ge=0,
        le=0.5,
        description="of images in files: how far the colour jitter turns the hue either way, as a "
        "share of the circle, beside 0.4 of brightness, contrast and saturation; 0 or 0.2",
    )
    label_smoothing: float = Field(ge=0, lt=1, description="0 or 0.1")
    class_weights: ClassWeights = "none"
    class_weights_beta: ClassWeightsBeta = BETA
    sampler: Sampler = "uniform"
    mixing: MixingConfig = Field(MixingConfig(kind="none"), description="image mixing, if any")
    validation_fraction: float = Field(
        0.0, ge=0, lt=1, description="of train, held out to choose the best epoch; 0: none chosen"
    )
    precision: Precision = Field("fp32", description="of training; bf16 only on a CUDA device")
    device_batch_size: int | None = Field(
        None,
        gt=1,
        description="images per forward pass of a device: a larger local batch is split and its "
        "gradients are accumulated; BatchNorm then sees one part at a time, and no part has a "
        "single image: with 2, an odd batch has one part of 3. none: no split",
    )
    average_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of an exponential moving average of the weights, which is then tested and "
        "saved; none: the weights themselves",
    )
    checkpoint_steps: int | None = Field(
        None,
        gt=0,
        description="steps between checkpoints within an epoch; none: only after each epoch. "
        "imagenet: 500",
        json_schema_extra=WITHOUT_EFFECT,
    )
    test_every: int = Field(
        1,
        gt=0,
        description="epochs between two tests; the last epoch is always tested",
        json_schema_extra=ADDED_LATER,
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = _DEFAULTS.get(str(values.get("network", "cifar")), {})
        return shorten_warm_ups(defaults, values) | values

    _beta_has_effect = field_validator("class_weights_beta")(refuse_unused_beta)
    _balanced_once = field_validator("sampler")(refuse_balancing_twice)

    @field_validator("mixing")
    @classmethod
    def _mixes_images(cls, mixing: MixingConfig) -> MixingConfig:
        if mixing.kind == "manifold_mixup":
            raise ValueError(
                "kind manifold_mixup mixes between the stages of a classifier, which a network of "
                "cells does not have; allowed: the other kinds"
            )
        return mixing

    @model_validator(mode="after")
    def _decays(self) -> "RetrainConfig":
        if self.schedule == "linear" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"epochs must exceed warmup_epochs ({self.warmup_epochs}), got {self.epochs}"
            )
        return self
