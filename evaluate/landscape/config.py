"""Settings of the landscape: what is measured, and on how fine a grid."""

import math
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from classification.extras import require
from evaluate.landscape.directions import NoiseScale

PLANE_VECTORS = 2
_OF_HESSIAN = ("eigenvalues", "plane_points", "trace_draws")


class SurfaceConfig(BaseModel, frozen=True, extra="forbid"):
    """On which images a landscape is measured, and how finely."""

    split: Literal["train", "test"] = Field(
        "test", description="whose images, without augmentation; Jeong et al. 2023, Figure 3: test"
    )
    images: int = Field(
        1000, gt=0, description="at most so many, as many of each class, drawn from the seed"
    )
    batch_size: int = Field(128, gt=0, le=8192, description="images at once")
    radius: float = Field(
        1.0, gt=0, le=10, description="of the line: 1 is as far as the weights are from zero"
    )
    points: int = Field(21, ge=3, le=1001, description="along the line; odd")
    plane_radius: float = Field(
        0.02,
        gt=0,
        le=10,
        description="of the plane, in the line's unit; the loss climbs far faster there",
    )
    plane_points: int = Field(11, ge=0, le=101, description="along a side; odd, or 0: no plane")
    noise: tuple[float, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5), max_length=50, description="σ, rising; empty: none"
    )
    noise_scale: NoiseScale = Field(
        "filter",
        description="what σ is a share of: filter, the root mean square of each filter's weights; "
        "absolute, 1, as in Zhang et al. 2018",
    )
    noise_draws: int = Field(5, gt=0, le=100, description="over which each σ is averaged")
    eigenvalues: int = Field(5, ge=0, le=50, description="largest of the Hessian; 0: none")
    trace_draws: int = Field(10, ge=0, le=1000, description="for the Hessian's trace; 0: none")

    @field_validator("points", "plane_points")
    @classmethod
    def _centred(cls, points: int) -> int:
        if points == 1 or (points and points % 2 == 0):
            raise ValueError("the trained weights are the middle; allowed: 3, 5, 7, …")
        return points

    @field_validator("noise")
    @classmethod
    def _rising(cls, noise: tuple[float, ...]) -> tuple[float, ...]:
        if list(noise) != sorted(set(noise)) or not all(0 < s < math.inf for s in noise):
            raise ValueError("allowed: values above 0 that rise")
        return noise

    @property
    def num_eigenvectors(self) -> int:
        """How many eigenvectors are computed: the plane needs two whatever is reported."""
        return max(self.eigenvalues, PLANE_VECTORS if self.plane_points else 0)

    @property
    def curvature(self) -> dict[str, int]:
        """The settings that need the Hessian, if any are on."""
        wanted = {name: getattr(self, name) for name in _OF_HESSIAN}
        return {name: value for name, value in wanted.items() if value}


class LandscapeConfig(SurfaceConfig, frozen=True, extra="forbid"):
    """Whose landscape, on which images, and how finely it is drawn."""

    of: Literal["scorer", "network"] | None = Field(
        None, description="the classifier; the network where the goal is one, else the scorer"
    )


def check_landscape(config: SurfaceConfig) -> None:
    """Raise ConfigError, naming the setting, if the extra that it needs is not installed."""
    for name in config.curvature:
        require(
            f"landscape.{name}",
            "landscape",
            "curvlinops-for-pytorch",
            otherwise=f"0 for each of {', '.join(_OF_HESSIAN)}",
        )
