"""Settings of the search, their defaults, and their demands on the images."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from classification.acceleration import GraphMode, Precision
from classification.compilation import CompileMode
from classification.errors import ConfigError
from classification.settings import ADDED_LATER, WITHOUT_EFFECT, shorten_warm_ups
from classification.training.schedules import Schedule, cosine_decay
from pcdarts.network_kind import NetworkKind, smallest_network_input
from pcdarts.pruning_config import PruningConfig

if TYPE_CHECKING:
    from torch import Tensor

# Defaults of a search on ImageNet: Xu et al. 2020, Section 4.3; rate_warmup_epochs is only in their
# public code.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "imagenet": {
        "warmup_epochs": 35,
        "rate_warmup_epochs": 5,
        "partial_channels": 2,
        "batch_size": 1024,
        "learning_rate": 0.5,
        "architecture_learning_rate": 6e-3,
        "architecture_gradient_clip": 5.0,
        "colour_jitter": 0.0,
        "checkpoint_steps": 50,
    },
}


class SupernetConfig(BaseModel, frozen=True, extra="forbid"):
    """The supernet and the training of its weights: the settings of the warm-up."""

    network: NetworkKind = Field(
        "cifar", description="stem of the supernet: full size (cifar), or divided by 8 (imagenet)"
    )
    epochs: int = Field(50, gt=0, description="passes over the images that train the weights")
    warmup_epochs: int = Field(
        15,
        ge=0,
        description="warm-up epochs, with α and β frozen; imagenet: 35; in proportion if `epochs` "
        "is no more than that",
    )
    rate_warmup_epochs: int = Field(
        0,
        ge=0,
        description="first epochs, over which the weights' learning rate rises linearly to its "
        "value; after them it follows the cosine over all epochs; imagenet: 5",
    )
    channels: int = Field(16, gt=0, description="channels of the supernet's first cell")
    cells: int = Field(8, ge=3, description="cells of the supernet, two of them reductions")
    partial_channels: int = Field(
        4,
        gt=0,
        description="K: one channel in K passes through the operations; imagenet: 2",
    )
    batch_size: int = Field(
        256, gt=1, description="images per weight or architecture step; imagenet: 1024"
    )
    learning_rate: float = Field(
        0.1, gt=0, description="SGD on the weights, cosine to 0; imagenet: 0.5"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of the weights' SGD")
    weight_decay: float = Field(3e-4, ge=0, description="of the weights' SGD")
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the weights' gradient")
    precision: Precision = Field(
        "fp32", description="arithmetic of the supernet; bf16 needs a CUDA device"
    )
    checkpoint_steps: int | None = Field(
        None,
        gt=0,
        description="steps between checkpoints within an epoch; none: only after epochs; "
        "imagenet: 50",
        json_schema_extra=WITHOUT_EFFECT,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("warmup_epochs", "rate_warmup_epochs"):
            if self.epochs <= (first := getattr(self, name)):
                raise ValueError(f"epochs must exceed {name} ({first}), got {self.epochs}")
        if self.channels % self.partial_channels:
            raise ValueError(
                f"channels must be a multiple of partial_channels ({self.partial_channels}), "
                f"got {self.channels}"
            )
        return self

    def make_schedule(self) -> Schedule:
        """Return the learning-rate schedule, as a share of `learning_rate`."""
        cosine, rising = cosine_decay(self.epochs), self.rate_warmup_epochs
        return lambda epoch: (int(epoch) + 1) / rising if epoch < rising else cosine(epoch)


class SearchConfig(SupernetConfig, frozen=True, extra="forbid"):
    """How the architecture is searched. Defaults follow `network`: Xu et al. 2020, their search on
    CIFAR or on ImageNet.
    """

    architecture_learning_rate: float = Field(
        6e-4, gt=0, description="of Adam on α and β; imagenet: 6e-3"
    )
    architecture_weight_decay: float = Field(1e-3, ge=0, description="of Adam on α and β")
    architecture_gradient_clip: float | None = Field(
        None,
        gt=0,
        description="largest norm of the gradient of α and β together; none: not clipped. "
        "imagenet: 5",
    )
    colour_jitter: float = Field(
        0.4,
        ge=0,
        le=1,
        description="of images in files: how far brightness, contrast and saturation vary; "
        "imagenet: 0, crop and flip alone",
    )
    cuda_graph: GraphMode = Field(
        "auto",
        description="replay the steps as CUDA graphs: where possible, always or never",
        json_schema_extra=WITHOUT_EFFECT,
    )

    compile: CompileMode = Field(
        "off",
        description="compile the cells with torch.compile, on a CUDA device; sums are rounded "
        "otherwise, so that a search may find another genotype",
        json_schema_extra=ADDED_LATER,
    )
    pruning: PruningConfig | None = Field(
        None,
        description="images that both halves drop during the search; none: all are kept",
        json_schema_extra=ADDED_LATER,
    )

    @field_validator("pruning")
    @classmethod
    def _pruned_in_time(
        cls, pruning: PruningConfig | None, info: ValidationInfo
    ) -> PruningConfig | None:
        if pruning is not None and "epochs" in info.data:  # else they are invalid themselves
            pruning.check(info.data["epochs"])
        return pruning

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        lengths = {name: cls.model_fields[name].default for name in ("epochs", "warmup_epochs")}
        defaults = lengths | _DEFAULTS.get(str(values.get("network")), {})
        return shorten_warm_ups(defaults, values) | values


def check_search(
    labels: Tensor,
    config: SearchConfig,
    image_size: int,
    architecture_labels: Tensor | None = None,
) -> None:
    """Raise ConfigError, naming the key, if no search can run on these images.

    `labels` [N] are those of the subset, which is split into two halves; with
    `architecture_labels` [N'], those of the images for α and β, they are those of the images for
    the weights. `image_size` is the shorter side in pixels.
    """
    if architecture_labels is None:
        _check_halves(labels, config)
        _check_pruned(config, *[labels.bincount() // 2] * 2)
    else:
        for kind, part, key in (
            ("for the weights", labels, "subset.fraction"),
            ("for α and β", architecture_labels, "subset.architecture_fraction"),
        ):
            if config.batch_size > len(part):
                raise ConfigError(
                    f"search.batch_size: {config.batch_size} exceeds the {len(part)} images {kind} "
                    f"({key}); allowed: at most {len(part)}"
                )
        _check_pruned(config, labels.bincount(), architecture_labels.bincount())
    check_image_size(config, image_size)


def check_image_size(config: SupernetConfig, image_size: int) -> None:
    """Raise ConfigError if images of `image_size` pixels are too small for the supernet."""
    smallest = smallest_network_input(config.network)
    if image_size < smallest:
        stem = " imagenet stem and" if config.network == "imagenet" else ""
        raise ConfigError(
            f"data.image_size: {image_size} pixels are too few for the supernet's{stem} two "
            f"reductions; allowed: at least {smallest}"
        )


def _check_halves(labels: Tensor, config: SearchConfig) -> None:
    for label, count in enumerate(labels.bincount().tolist()):
        if count < 2:
            raise ConfigError(
                f"subset.fraction: leaves class {label} with {count} image{'s' * (count != 1)}; "
                "each of the two search halves needs one, so allowed: at least 2 a class"
            )
    half = len(labels) // 2
    if config.batch_size > half:
        raise ConfigError(
            f"search.batch_size: {config.batch_size} exceeds a search half of {half} images; "
            f"allowed: at most {half}"
        )


def _check_pruned(config: SearchConfig, *classes: Tensor) -> None:
    """Raise ConfigError if the sample of the warm-up or the last round has less than a batch.
    `classes`: images by class."""
    pruning = config.pruning
    if pruning is None:
        return
    of_class = {"final_fraction": lambda n: pruning.kept_of(n, pruning.rounds)}
    if pruning.warmup_fraction is not None:
        of_class["warmup_fraction"] = pruning.sampled_of
    for (key, left_of), (kind, counts) in itertools.product(
        of_class.items(), zip(("the weights", "α and β"), classes, strict=True)
    ):
        left = sum(left_of(n) for n in counts.tolist() if n)
        if left < config.batch_size:
            raise ConfigError(
                f"search.pruning.{key}: {getattr(pruning, key)} of the "
                f"{int(counts.sum())} images for {kind} leaves {left}, less than a batch "
                f"(search.batch_size: {config.batch_size}); allowed: a larger "
                "fraction or a smaller batch"
            )
