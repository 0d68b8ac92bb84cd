"""The settings of the scores stage."""

from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from classification.acceleration import Precision

Source = Literal["pass", "training"]
Loss = Literal["ce", "kl", "anchor_ce"]


class ScoresConfig(BaseModel, frozen=True, extra="forbid"):
    """How the training images are scored. The defaults are the paper's, Section III-C."""

    source: Source = Field(
        "pass",
        description="a pass of the trained scorer over mixes (the paper's); or the losses that its "
        "training recorded in its last epochs, one a draw, which cost nothing",
    )
    draws: int = Field(10, ge=2, le=10_000, description="mixes of each image (the paper's M)")
    num_images: int = Field(
        3, ge=2, le=16, description="images in a mix, the anchor included (the paper's K)"
    )
    alpha: float = Field(
        2 / 9, gt=0, le=1000, description="Dirichlet parameter of the other images' fractions"
    )
    anchor_fraction: float = Field(
        5 / 9,
        gt=0,
        lt=1,
        description="share of the pixels the anchor keeps; the paper gives none, 5/9 is its mean "
        "under the published Dirichlet parameters, which sum to 1",
    )
    loss: Loss = Field(
        "ce",
        description="cross-entropy against the mixed label (Eq. 8), that less the mixed label's "
        "entropy, or against the anchor's label alone, in nats",
    )
    common_draws: bool = Field(
        False, description="give every anchor the same fractions, boxes and partners in draw m"
    )
    cv_floor: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="nats added to the mean in the coefficient of variation's denominator; none "
        "stands for 0.5 under anchor_ce, whose mean may vanish, and 0 otherwise",
    )
    precision: Precision = Field(
        "fp32", description="of the forward pass's arithmetic; bf16 on a CUDA device alone"
    )
    batch_size: int = Field(1024, gt=0, description="mixed images a forward pass")

    @field_validator("loss", "common_draws")
    @classmethod
    def _recorded(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        if info.data.get("source") == "training" and value in ("anchor_ce", True):
            allowed = "false" if value is True else "ce, kl"
            raise ValueError(
                f"no training records such losses; allowed: {allowed} with source training"
            )
        return value

    @property
    def floor(self) -> float:
        """Nats added to the mean loss in the coefficient of variation's denominator."""
        if self.cv_floor is not None:
            return self.cv_floor
        return 0.5 if self.loss == "anchor_ce" else 0.0
