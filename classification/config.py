"""Settings of a classifier's training, with the recipes of Tables 1 and 2."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from classification.acceleration import GraphMode, Precision
from classification.mixing import MixingConfig
from classification.models import MODELS
from classification.models.input_statistics import InputStatistics
from classification.settings import ADDED_LATER, WITHOUT_EFFECT
from classification.training.class_balance import (
    BETA,
    ClassWeights,
    ClassWeightsBeta,
    Sampler,
    refuse_balancing_twice,
    refuse_unused_beta,
)
from classification.training.schedules import Schedule, cosine_decay, one_cycle, step_decay

SUPERNET = "supernet"  # as `model`: the search's own network after its warm-up

# Fields that the search's config replaces with model: supernet.
_DECIDED_BY_SEARCH = (
    "weights", "epochs", "stop_epoch", "batch_size", "learning_rate", "momentum", "weight_decay",
    "schedule", "milestones", "stochastic_depth", "drop_block", "precision", "record_losses",
    "record_dynamics",
)  # fmt: skip


class ClassifierConfig(BaseModel, frozen=True, extra="forbid"):
    """The network whose losses rank the images, and how it is trained.

    The defaults are the CutMix setting for PyramidNet (Yun et al. 2019), which is that of Table 1.
    """

    model: str = Field(
        "pyramidnet110",
        description="name of the classifier; or supernet: the search's own network, trained on all "
        "images for the warm-up epochs; the search then continues from it",
    )
    weights: Path | None = Field(
        None, description="load this trained scorer (safetensors or a torch checkpoint) instead"
    )
    normalization: InputStatistics | None = Field(
        None,
        description="mean and std with which the images of `weights` were normalised in training; "
        "none: as recorded beside the weights, or those of the authors' checkpoint",
    )
    mixing: MixingConfig = Field(MixingConfig(), description="image mixing during training")
    epochs: int = Field(300, gt=0, description="passes over the training images")
    stop_epoch: int | None = Field(
        None,
        gt=0,
        description="stop after this many epochs; the schedule is still that of all epochs",
    )
    batch_size: int = Field(64, gt=1, description="images")
    learning_rate: float = Field(0.25, gt=0, description="of SGD")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(1e-4, ge=0, description="of SGD; 4e-5 in the authors' recipe")
    schedule: Literal["step", "cosine", "one_cycle"] = Field(
        "step", description="learning-rate schedule"
    )
    milestones: tuple[float, ...] = Field(
        (0.5, 0.75), description="shares of the epochs after which the rate is divided by ten"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="training only, never scoring")
    class_weights: ClassWeights = "none"
    class_weights_beta: ClassWeightsBeta = BETA
    sampler: Sampler = "uniform"
    stochastic_depth: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability of dropping the last residual branch; that of the others is "
        "proportional to their depth (Huang et al. 2016)",
    )
    drop_block: float = Field(
        0.0, ge=0, lt=1, description="share of the last two stages' maps that DropBlock drops"
    )
    drop_block_size: int = Field(7, gt=0, description="DropBlock's side (Ghiasi et al. 2018)")
    precision: Precision = Field(
        "fp32", description="arithmetic of the training; bf16 needs a CUDA device"
    )
    cuda_graph: GraphMode = Field(
        "auto",
        description="replay the training step as a CUDA graph: where possible, always or never",
        json_schema_extra=WITHOUT_EFFECT,
    )
    checkpoint_steps: int | None = Field(
        None,
        gt=0,
        description="steps between checkpoints within an epoch; none: only after epochs",
        json_schema_extra=WITHOUT_EFFECT,
    )
    test_every: int = Field(
        1, gt=0, description="epochs between two tests; the last epoch is always tested"
    )
    record_losses: bool = Field(
        False,
        description="record each training image's loss in every epoch: the loss of the mix whose "
        "canvas it is, without class weights. The steps are then not captured as CUDA graphs",
    )
    record_dynamics: bool = Field(
        False,
        description="observe each training image after every epoch, unmixed and in eval mode, for "
        "the measures forgetting, aum_low and aum_high; takes a forward pass an epoch",
        json_schema_extra=ADDED_LATER,
    )

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        if model not in MODELS and model != SUPERNET:
            raise ValueError(f"unknown classifier; allowed: {', '.join([*MODELS, SUPERNET])}")
        return model

    @field_validator(*_DECIDED_BY_SEARCH)
    @classmethod
    def _left_to_search(cls, value: Any, info: ValidationInfo) -> Any:
        # Compared with the default, so that a config that names every key loads again.
        default = cls.model_fields[str(info.field_name)].default
        if info.data.get("model") == SUPERNET and value != default:
            raise ValueError(
                "cannot be used with model: supernet; the search section configures its warm-up"
            )
        return value

    @field_validator("class_weights", "sampler")
    @classmethod
    def _trained_with(cls, value: str, info: ValidationInfo) -> str:
        default = cls.model_fields[str(info.field_name)].default
        if value != default and info.data.get("model") == SUPERNET:
            raise ValueError(
                f"cannot be used with model: supernet, which the search trains; allowed: {default}"
            )
        if value != default and info.data.get("weights") is not None:
            raise ValueError(
                f"cannot be used with weights, which replace the training; allowed: {default}"
            )
        return value

    _beta_has_effect = field_validator("class_weights_beta")(refuse_unused_beta)
    _balanced_once = field_validator("sampler")(refuse_balancing_twice)

    @field_validator("normalization")
    @classmethod
    def _of_weights(
        cls, statistics: InputStatistics | None, info: ValidationInfo
    ) -> InputStatistics | None:
        if statistics is not None and info.data.get("weights", "invalid") is None:
            raise ValueError("needs weights: a scorer trained here is given its own dataset's")
        return statistics

    @field_validator("mixing")
    @classmethod
    def _mixable(cls, mixing: MixingConfig, info: ValidationInfo) -> MixingConfig:
        if info.data.get("model") == SUPERNET and mixing.kind == "manifold_mixup":
            raise ValueError(
                "kind manifold_mixup cannot be used with model: supernet, which has no classifier "
                "stages; allowed: any other kind"
            )
        return mixing

    @field_validator("stop_epoch")
    @classmethod
    def _within(cls, stop: int | None, info: ValidationInfo) -> int | None:
        epochs = info.data.get("epochs")
        if stop is not None and epochs is not None and stop > epochs:
            raise ValueError(f"exceeds the schedule; allowed: 1 to epochs ({epochs})")
        return stop

    @field_validator("record_losses", "record_dynamics")
    @classmethod
    def _trained_here(cls, record: bool, info: ValidationInfo) -> bool:
        if record and info.data.get("weights") is not None:
            raise ValueError("cannot be used with weights, which replace the training")
        return record

    @field_validator("record_losses")
    @classmethod
    def _each_image_once(cls, record: bool, info: ValidationInfo) -> bool:
        if record and info.data.get("checkpoint_steps") is not None:
            raise ValueError("cannot be used with checkpoint_steps: losses are recorded per epoch")
        if record and info.data.get("sampler") == "balanced":
            raise ValueError(
                "cannot be used with sampler: balanced, which repeats and leaves out images"
            )
        return record

    @field_validator("drop_block_size")
    @classmethod
    def _centred(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("must be odd; allowed: 1, 3, 5, 7, …")
        return size

    @model_validator(mode="after")
    def _ascending(self) -> "ClassifierConfig":
        shares = self.milestones
        if list(shares) != sorted(shares) or not all(0 < share < 1 for share in shares):
            raise ValueError(f"milestones {shares} must ascend between 0 and 1")
        return self

    @model_validator(mode="after")
    def _capturable(self) -> "ClassifierConfig":
        if self.cuda_graph != "on" or self.graph_mode == "on":
            return self
        why = (
            "that records its losses keeps tensors from call to call"
            if self.mixing.capturable
            else f"with {self.mixing.kind} waits for the CPU"
        )
        raise ValueError(
            f"cuda_graph on: a step {why}, so it cannot be captured; allowed: auto, off"
        )

    @property
    def trained_epochs(self) -> int:
        """How many of the schedule's epochs are trained."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    @property
    def graph_mode(self) -> GraphMode:
        """`cuda_graph`, but off where the step cannot be captured."""
        return self.cuda_graph if self.mixing.capturable and not self.record_losses else "off"

    def make_schedule(self) -> Schedule:
        """Return the learning-rate schedule, as a share of `learning_rate`."""
        if self.schedule == "step":
            return step_decay(self.epochs, self.milestones)
        return cosine_decay(self.epochs) if self.schedule == "cosine" else one_cycle(self.epochs)
