"""Settings of the scores."""

import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from classification.acceleration import Precision
from classification.errors import did_you_mean
from classification.settings import ADDED_LATER, WITHOUT_EFFECT

Source = Literal["pass", "training"]
Loss = Literal["ce", "kl", "anchor_ce"]
Anchor = Literal["canvas", "patch", "any"]
Fraction = Literal["fixed", "dirichlet"]
Place = Literal["middle", "edges", "anywhere"]

RECOMMENDED: dict[str, Any] = {
    "draws": 50,
    "loss": "anchor_ce",
    "anchor": "canvas",
    "fraction": "fixed",
}
"""What `scores: recommended` stands for; every other setting has its default."""

NAMED = {"recommended": RECOMMENDED}
_OF_OTHERS = ("num_images", "anchor", "fraction", "alpha")  # settings of the other images of a mix
_LEFT_OUT = "scores={…} replaces all that a file sets"


class LossesConfig(BaseModel, frozen=True, extra="forbid"):
    """Which losses an image is scored by; all settings that apply to recorded losses."""

    source: Source = Field(
        "pass",
        description="a pass of the trained scorer over mixes (the paper's); or the losses recorded "
        "in the last epochs of its training, one per draw, at no cost",
    )
    draws: int = Field(10, ge=2, le=10_000, description="mixes of each image (the paper's M)")
    loss: Loss = Field(
        "ce",
        description="cross-entropy with the mixed label (Eq. 8), the same less the mixed label's "
        "entropy, or cross-entropy with the anchor's label only, in nats",
    )
    cv_floor: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="nats added to the mean in the coefficient of variation's denominator; none "
        "means 0.5 for anchor_ce, whose mean may vanish, and 0 otherwise",
    )

    @field_validator("loss")
    @classmethod
    def _recorded(cls, loss: Loss, info: ValidationInfo) -> Loss:
        if info.data.get("source") == "training" and loss == "anchor_ce":
            raise ValueError(
                "cannot be used with source: training, which does not record such losses; "
                "allowed: ce, kl"
            )
        return loss

    @property
    def floor(self) -> float:
        """Nats added to the mean loss in the coefficient of variation's denominator."""
        if self.cv_floor is not None:
            return self.cv_floor
        return 0.5 if self.loss == "anchor_ce" else 0.0


class ScoresConfig(LossesConfig, frozen=True, extra="forbid"):
    """How the training images are scored. The defaults are the paper's, Section III-C."""

    num_images: int = Field(
        3, ge=2, le=16, description="images in a mix, the anchor included (the paper's K)"
    )
    anchor: Anchor = Field(
        "canvas",
        description="place of the scored image: the canvas, under the others' boxes, whose middle "
        "a large box always hides; the innermost patch, which no box hides; or any of the K "
        "places, drawn afresh for each mix. The paper gives none",
        json_schema_extra=ADDED_LATER,
    )
    fraction: Fraction = Field(
        "fixed",
        description="share of the pixels that the anchor keeps: anchor_fraction in all mixes; or, "
        "like those of the others, drawn from a Dirichlet distribution, as in training",
        json_schema_extra=ADDED_LATER,
    )
    alpha: float = Field(
        2 / 9,
        gt=0,
        le=1000,
        description="Dirichlet parameter of the other images' fractions; with fraction: dirichlet "
        "that of all K, 1/K by default, as in training",
    )
    anchor_fraction: float = Field(
        5 / 9,
        gt=0,
        lt=1,
        description="share of the pixels that the anchor keeps with fraction: fixed; not given in "
        "the paper, 5/9 is its mean under the published Dirichlet parameters, which sum to 1",
    )
    common_draws: bool = Field(
        False, description="give every anchor the same fractions, boxes and partners in draw m"
    )
    box: Place | None = Field(
        None,
        description="hide the anchor's other pixels under one box of the mean colour, without any "
        "other image: a box that always covers the middle, one that never does, or one anywhere; "
        "its label is the anchor's, so that loss is anchor_ce (implied); none: other images hide "
        "them, as in the paper",
        json_schema_extra=ADDED_LATER,
    )
    precision: Precision = Field(
        "fp32", description="arithmetic of the forward pass; bf16 needs a CUDA device"
    )
    batch_size: int = Field(
        1024, gt=0, description="mixed images per forward pass", json_schema_extra=WITHOUT_EFFECT
    )

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("fraction") == "dirichlet":
            images = values.get("num_images", cls.model_fields["num_images"].default)
            if type(images) is int and images > 0:  # else an error of its own
                values = {"alpha": 1 / images} | values
        if values.get("box") is not None and values.get("source", "pass") == "pass":
            values = {"loss": "anchor_ce"} | values
        return values

    @field_validator("anchor", "fraction", "common_draws", "box")
    @classmethod
    def _drawn(cls, value: Any, info: ValidationInfo) -> Any:
        # The default passes, so that a config that names every key loads again.
        if info.data.get("source") == "training" and value != cls._default(str(info.field_name)):
            raise ValueError(
                "cannot be used with source: training, which draws no mixes of its own; allowed: "
                f"source: pass, or no {info.field_name}"
            )
        return value

    @field_validator("anchor_fraction")
    @classmethod
    def _kept(cls, kept: float, info: ValidationInfo) -> float:
        unused = info.data.get("fraction") == "dirichlet"
        if unused and kept != cls._default("anchor_fraction"):
            raise ValueError(
                "has no effect with fraction: dirichlet, which draws the anchor's share; allowed: "
                f"fraction: fixed, or no anchor_fraction ({_LEFT_OUT})"
            )
        return kept

    @field_validator("box")
    @classmethod
    def _alone(cls, box: Place | None, info: ValidationInfo) -> Place | None:
        if box is None:
            return box
        only = {"loss": "anchor_ce"} | {key: cls._default(key) for key in _OF_OTHERS}
        for key, default in only.items():
            if (found := info.data.get(key, default)) != default:
                raise ValueError(
                    f"cannot be used with {key}: {found}; allowed: no box, or no {key} "
                    f"({_LEFT_OUT})"
                )
        return box

    @classmethod
    def _default(cls, key: str) -> Any:
        return cls.model_fields[key].default


class ScoresFromAnywhereConfig(ScoresConfig, frozen=True, extra="forbid"):
    """How the training images are scored, or a file of scores from another method."""

    file: Path | None = Field(
        None,
        description="scores of another method, instead of a scorer's losses: .npy, or text with a "
        "number a line, or `index value` or `index value class` (index: place in the training "
        "split). Ranked by subset.measure: score (implied) or score_low; the cost is unknown",
    )


def _named(values: Any) -> Any:
    """Return the settings that `recommended` stands for, as a text or as a mapping's `base`, under
    the mapping's own; any other value as it is. Raises ValueError for another name."""
    own = {"base": values} if isinstance(values, str) else values
    if not isinstance(own, dict) or "base" not in own:
        return values
    base = own["base"]
    if not isinstance(base, str) or base not in NAMED:
        found = "" if base is values else f"found base: {reprlib.repr(base)}; "
        hint = did_you_mean(base, NAMED) if isinstance(base, str) else ""
        raise ValueError(f"{found}{hint}allowed: {', '.join(NAMED)}, or a mapping")
    return NAMED[base] | {key: value for key, value in own.items() if key != "base"}


Scores = Annotated[
    ScoresFromAnywhereConfig,
    BeforeValidator(
        _named, json_schema_input_type=Literal["recommended"] | ScoresFromAnywhereConfig
    ),
]
"""Settings of the scores, or the name of some."""
