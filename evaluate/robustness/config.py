"""Settings of attacks on a trained classifier, of substitutes, and of distribution shift."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from classification.data.config import DataConfig
from classification.errors import ConfigError
from classification.models import MODELS, smallest_classifier_input
from classification.models.input_statistics import InputStatistics, statistics_beside

AttackName = Literal["fgsm", "pgd"]
Kind = Literal["white-box", "gray-box", "black-box"]


@dataclass(frozen=True)
class Attack:
    """Settings of one attack; `epsilon` and `step` are fractions of the pixel range [0, 1].

    FGSM ignores steps and restarts. A step longer than ε is reduced to ε.
    """

    name: AttackName
    epsilon: float
    step: float = 2 / 255
    steps: int = 10
    restarts: int = 1


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
    normalization: InputStatistics | None = Field(
        None,
        description="mean and std with which its images were normalised in training; none: as "
        "recorded beside the weights",
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

    @property
    def statistics(self) -> InputStatistics | None:
        """The normalization that is set or recorded beside the weights; None if neither is."""
        return self.normalization or statistics_beside(self.weights)

    def check_image_size(self, image_size: int, key: str) -> None:
        """Raise ConfigError, naming `key`, if images of this size are too small for the model."""
        smallest = 0 if self.model is None else smallest_classifier_input(self.model)
        if image_size < smallest:
            raise ConfigError(
                f"{key}.model: {self.model} needs images of at least {smallest} pixels, found "
                f"{image_size}; allowed: a model for this size"
            )


class ShiftConfig(BaseModel, frozen=True, extra="forbid"):
    """Images from outside the classifier's dataset; each kind is measured if it is given."""

    imagenet_a: Path | None = Field(
        None, description="ImageNet-A: a folder of 200 folders named by WordNet IDs"
    )
    imagenet_o: Path | None = Field(
        None, description="ImageNet-O: a folder of 200 folders named by WordNet IDs"
    )
    out_of_distribution: DataConfig | None = Field(
        None,
        description="another dataset: its evaluated images, of other classes than the "
        "classifier's; they are resized to the classifier's image size",
    )


def _fraction(value: Any) -> Any:
    """Convert a text such as 8/255 to a number."""
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value))
    except ZeroDivisionError as error:
        raise ValueError("division by zero; allowed: a fraction such as 8/255") from error


Share = Annotated[float, BeforeValidator(_fraction), Field(gt=0, le=1)]


class AttackConfig(BaseModel, frozen=True, extra="forbid"):
    """The attacks on a trained classifier."""

    attacks: tuple[AttackName, ...] = Field(
        ("fgsm", "pgd"), min_length=1, description="FGSM alone can reflect masked gradients"
    )
    epsilons: tuple[Share, ...] = Field(
        (2 / 255, 4 / 255, 8 / 255),
        min_length=1,
        description="largest change of a pixel, as a fraction of its range, such as 8/255",
    )
    step: Share = Field(2 / 255, description="of PGD, in the same unit; limited to ε")
    steps: int = Field(10, gt=0, le=10_000, description="of PGD")
    restarts: int = Field(
        1, gt=0, le=1000, description="random starts of PGD; each attacks the images still correct"
    )
    images: int | None = Field(
        None,
        gt=0,
        description="number of the evaluated images to attack, drawn at random; none: all",
    )
    batch_size: int = Field(250, gt=0, description="images per batch of an attack")

    @field_validator("attacks", "epsilons")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("a value occurs twice; allowed: each once")
        return tuple(sorted(values))

    def attack(self, name: AttackName, epsilon: float) -> Attack:
        return Attack(name, epsilon, self.step, self.steps, self.restarts)


class RobustnessConfig(AttackConfig, frozen=True, extra="forbid"):
    """The attacks on a trained classifier, and the images of its distribution shift.

    The defaults are FGSM and PGD-10 under L∞ up to 8/255, in steps of 2/255.
    """

    of: Literal["scorer", "network"] | None = Field(
        None, description="the classifier; none: network if the goal is network, else scorer"
    )
    substitutes: tuple[SubstituteConfig, ...] = Field(
        (), description="other classifiers on which adversarial images are made"
    )
    shift: ShiftConfig = Field(ShiftConfig(), description="images from other distributions")
