"""Settings of the loss landscape: its measurements, images and grids."""

import math
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from classification.extras import require

NoiseScale = Literal["filter", "absolute"]

PLANE_VECTORS = 2
_OF_HESSIAN = ("eigenvalues", "plane_points", "trace_draws")


class SurfaceConfig(BaseModel, frozen=True, extra="forbid"):
    """The images, directions and grids of a landscape."""

    split: Literal["train", "test"] = Field(
        "test", description="of the images, not augmented; Jeong et al. 2023, Figure 3: test"
    )
    images: int = Field(
        1000, gt=0, description="largest number, balanced over classes, drawn from the seed"
    )
    batch_size: int = Field(128, gt=0, le=8192, description="images per forward pass")
    radius: float = Field(1.0, gt=0, le=10, description="of the line; 1: the norm of the weights")
    points: int = Field(21, ge=3, le=1001, description="along the line; odd")
    plane_radius: float = Field(
        0.02,
        gt=0,
        le=10,
        description="of the plane, in the unit of the line; the loss rises much faster there",
    )
    plane_points: int = Field(11, ge=0, le=101, description="per side; odd, or 0: no plane")
    noise: tuple[float, ...] = Field(
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5), max_length=50, description="σ, rising; empty: none"
    )
    noise_scale: NoiseScale = Field(
        "filter",
        description="unit of σ; filter: the root mean square of each filter's weights; "
        "absolute: 1, as in Zhang et al. 2018",
    )
    noise_draws: int = Field(5, gt=0, le=100, description="random draws averaged for each σ")
    eigenvalues: int = Field(
        5, ge=0, le=50, description="number of largest eigenvalues of the Hessian; 0: none"
    )
    trace_draws: int = Field(10, ge=0, le=1000, description="for the Hessian's trace; 0: none")

    @field_validator("points", "plane_points")
    @classmethod
    def _centred(cls, points: int) -> int:
        if points == 1 or (points and points % 2 == 0):
            raise ValueError("the trained weights are the middle point; allowed: 3, 5, 7, …")
        return points

    @field_validator("noise")
    @classmethod
    def _rising(cls, noise: tuple[float, ...]) -> tuple[float, ...]:
        if list(noise) != sorted(set(noise)) or not all(0 < s < math.inf for s in noise):
            raise ValueError("allowed: rising values above 0")
        return noise

    @property
    def num_eigenvectors(self) -> int:
        """Number of eigenvectors to compute: the plane needs two, however many are reported."""
        return max(self.eigenvalues, PLANE_VECTORS if self.plane_points else 0)

    @property
    def curvature(self) -> dict[str, int]:
        """The active settings that need the Hessian."""
        wanted = {name: getattr(self, name) for name in _OF_HESSIAN}
        return {name: value for name, value in wanted.items() if value}


class LandscapeConfig(SurfaceConfig, frozen=True, extra="forbid"):
    """The classifier, images, directions and grids of a landscape."""

    of: Literal["scorer", "network"] | None = Field(
        None, description="the classifier; none: network if the goal is network, else scorer"
    )


def check_landscape(config: SurfaceConfig) -> None:
    """Raise ConfigError, naming the setting, if it needs an extra that is not installed."""
    for name in config.curvature:
        require(
            f"landscape.{name}",
            "landscape",
            "curvlinops-for-pytorch",
            otherwise=f"0 for each of {', '.join(_OF_HESSIAN)}",
        )
