"""What a subset keeps of each class: settings and their defaults (Jeong et al. 2023, Eq. 9)."""

from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from subsample.baselines import DropoutConfig

_ROUNDING = 1e-9  # by which fractions that make up 1 may exceed it

Measure = Literal[
    "cv", "mean_high", "mean_low", "std", "mc_dropout", "k_center", "el2n", "random", "full"
]
Order = Literal["deterministic", "interval"]


class SubsetConfig(BaseModel, frozen=True, extra="forbid"):
    """Which images of each class the search sees."""

    measure: Measure = Field(
        "cv",
        description="what puts an image first: a high coefficient of variation (the paper's), a "
        "high or low mean loss, a high standard deviation, uncertainty under dropout, being far "
        "from those before it (k-center), a long error (EL2N), or chance; full keeps every image",
    )
    fraction: float = Field(
        0.1, gt=0, le=1, description="share of each class kept (the paper's t); 1 under full"
    )
    architecture_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of each class kept beside those, for α and β alone; none: the search "
        "deals the subset into two equal halves. Published for ImageNet: 0.025 beside 0.1",
    )
    order: Order = Field(
        "deterministic",
        description="the first images of the order, or every n-th one (Section III-C of the paper)",
    )

    dropout: DropoutConfig = Field(DropoutConfig(), description="Monte-Carlo dropout of mc_dropout")

    @model_validator(mode="before")
    @classmethod
    def _full_keeps_all(cls, values: Any) -> Any:
        # A baseline inherits its fraction from the config it is compared with.
        if isinstance(values, dict) and values.get("measure") == "full":
            return values | {"fraction": 1.0}
        return values

    @field_validator("architecture_fraction")
    @classmethod
    def _leaves_enough(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None or "fraction" not in info.data:
            return value
        if info.data.get("measure") == "full":
            raise ValueError("measure full keeps every image for both; allowed: none with it")
        fraction = info.data["fraction"]
        if fraction + value > 1 + _ROUNDING:
            raise ValueError(
                f"with fraction {fraction} it makes up more than a class; allowed: at most "
                f"{1 - fraction:.6g}"
            )
        return value

    @property
    def needs_scores(self) -> bool:
        """Whether the measure reads the losses, so that a scorer has to be trained first."""
        return self.measure in ("cv", "mean_high", "mean_low", "std")

    @property
    def needs_baseline(self) -> bool:
        """Whether the measure reads the scorer otherwise than by its losses under mixing."""
        return self.measure in ("mc_dropout", "k_center", "el2n")
