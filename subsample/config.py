"""Settings of the scores and of the subset."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from classification.acceleration import Precision
from classification.settings import ADDED_LATER, WITHOUT_EFFECT
from subsample.measures import (
    IMPORTED,
    MEASURES_OF_FILES,
    OF_EARLY,
    OF_ENTROPY,
    OF_FILE,
    OF_LOSSES,
    OF_SCORER,
    OF_TRAINING,
    PROBABILITIES,
    DropoutConfig,
    EarlyConfig,
    Measure,
    Order,
    StratificationConfig,
)

Source = Literal["pass", "training"]
Loss = Literal["ce", "kl", "anchor_ce"]
Anchor = Literal["canvas", "patch", "any"]
Fraction = Literal["fixed", "dirichlet"]


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
        "that of all K, 1/3 by default",
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
    precision: Precision = Field(
        "fp32", description="arithmetic of the forward pass; bf16 needs a CUDA device"
    )
    batch_size: int = Field(
        1024, gt=0, description="mixed images per forward pass", json_schema_extra=WITHOUT_EFFECT
    )

    @model_validator(mode="before")
    @classmethod
    def _alpha_of_training(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("fraction") == "dirichlet":
            return {"alpha": 1 / 3} | values
        return values

    @field_validator("anchor_fraction")
    @classmethod
    def _kept(cls, kept: float, info: ValidationInfo) -> float:
        # The default passes, so that a config that names every key loads again.
        unused = info.data.get("fraction") == "dirichlet"
        if unused and kept != cls.model_fields["anchor_fraction"].default:
            raise ValueError(
                "has no effect with fraction: dirichlet, which draws the anchor's share; allowed: "
                "fraction: fixed, or no anchor_fraction"
            )
        return kept

    @field_validator("common_draws")
    @classmethod
    def _drawn(cls, common: bool, info: ValidationInfo) -> bool:
        if info.data.get("source") == "training" and common:
            raise ValueError("cannot be used with source: training; allowed: false")
        return common


class ScoresFromAnywhereConfig(ScoresConfig, frozen=True, extra="forbid"):
    """How the training images are scored, or a file of scores from another method."""

    file: Path | None = Field(
        None,
        description="scores of another method, instead of a scorer's losses: .npy, or text with a "
        "number a line, or `index value` or `index value class` (index: place in the training "
        "split). Ranked by subset.measure: score (implied) or score_low; the cost is unknown",
    )


_ROUNDING = 1e-9  # tolerance of fractions that sum to 1


class SelectionConfig(BaseModel, frozen=True, extra="forbid"):
    """Which images of each class are kept, given the values that the measure needs."""

    measure: Measure = Field(
        "cv",
        description="which images come first: those of high coefficient of variation (the paper), "
        "high or low mean loss, high standard deviation, high uncertainty under dropout, far from "
        "those before (k-center), of large error (EL2N), of high or low entropy of the scorer's "
        "prediction, nearest to the median distance from their class's centre (moderate), often "
        "forgotten in the scorer's training, of low or high mean margin in it (AUM), of large "
        "error or gradient early in training (EL2N, GraNd), or random ones; full keeps all; with "
        "scores.file those of high score (implied) or score_low; indices imply imported",
    )
    fraction: float = Field(
        0.1, gt=0, le=1, description="share of each class kept (the paper's t); 1 with measure full"
    )
    architecture_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of each class kept in addition, for α and β only; none: the search "
        "splits the subset into two equal halves. Published for ImageNet: 0.025, with fraction 0.1",
    )
    order: Order = Field(
        "deterministic",
        description="keep the first images of the order, or every n-th (the paper, Section III-C); "
        "or as many from each range of the measure (ccs, Zheng et al. 2023); or draw images with "
        "probabilities from the histogram of their entropies (p1, p2, p3 of Na et al. 2021)",
    )
    ccs: StratificationConfig = Field(
        StratificationConfig(), description="of order ccs", json_schema_extra=ADDED_LATER
    )
    bin_width: float = Field(
        0.25,
        ge=0.001,
        le=100,
        description="of the histogram of log10 entropies, with order p1, p2 or p3; published: 0.5 "
        "for CIFAR-10, 0.25 for CIFAR-100 and ImageNet",
        json_schema_extra=ADDED_LATER,
    )

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
            raise ValueError("cannot be used with measure: full, which keeps every image")
        fraction = info.data["fraction"]
        if fraction + value > 1 + _ROUNDING:
            raise ValueError(
                f"its sum with fraction {fraction} exceeds 1; allowed: at most {1 - fraction:.6g}"
            )
        return value

    @model_validator(mode="after")
    def _order_fits(self) -> "SelectionConfig":
        if self.order == "ccs":
            self._check_strata()
        elif self.ccs != StratificationConfig():
            raise ValueError("ccs: has no effect without order: ccs; allowed: no ccs")
        drawn = self.order in PROBABILITIES
        if drawn and self.measure not in OF_ENTROPY:
            raise ValueError(
                f"order: found {self.order} with measure {self.measure}; allowed: measure entropy, "
                "or score, if scores.file has entropies"
            )
        if not drawn and self.bin_width != type(self).model_fields["bin_width"].default:
            raise ValueError("bin_width: has no effect without order p1, p2 or p3; allowed: none")
        return self

    def _check_strata(self) -> None:
        if self.measure in ("random", "full", "k_center", IMPORTED):
            raise ValueError(
                f"order: found ccs with measure {self.measure}, which gives images no value of "
                "their own; allowed: any other measure"
            )
        kept = self.fraction + (self.architecture_fraction or 0)
        if kept + self.ccs.beta > 1 + _ROUNDING:
            raise ValueError(
                f"ccs.beta: found {self.ccs.beta}, which leaves fewer images than the {kept:g} of "
                f"a class that are kept; allowed: at most {1 - kept:.6g}"
            )

    @property
    def needs_scores(self) -> bool:
        """Whether the measure uses the losses, so that a scorer is needed."""
        return self.measure in OF_LOSSES

    @property
    def needs_baseline(self) -> bool:
        """Whether the measure uses networks or their training, but not losses under mixing."""
        return self.measure in (*OF_SCORER, *OF_TRAINING, *OF_EARLY)

    @property
    def needs_file(self) -> bool:
        """Whether the measure ranks the values in scores.file."""
        return self.measure in OF_FILE

    @property
    def made_elsewhere(self) -> bool:
        """Whether the scores or the subset came from a file, so that their cost is unknown."""
        return self.measure in MEASURES_OF_FILES

    @property
    def by_chance(self) -> bool:
        """Whether the result depends on the seed: by measuring, choosing or splitting."""
        drawn = self.measure in (*OF_LOSSES, "mc_dropout", "random")
        chosen = self.order in ("ccs", *PROBABILITIES)
        return drawn or chosen or self.architecture_fraction is not None


class SubsetConfig(SelectionConfig, frozen=True, extra="forbid"):
    """Which images of each class the search uses."""

    dropout: DropoutConfig = Field(DropoutConfig(), description="Monte-Carlo dropout of mc_dropout")
    early: EarlyConfig = Field(
        EarlyConfig(), description="networks of el2n_early and grand, instead of a scorer"
    )
    indices: Path | None = Field(
        None,
        description="file of the images to keep, instead of a measure: an exported subset.json or "
        "indices.csv, .npy, or text with an index in the training split a line, or, for a folder, "
        "a path below root; fraction and order do not apply",
    )

    @model_validator(mode="before")
    @classmethod
    def _indices_imply_the_measure(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("indices") is not None and "measure" not in values:
            return values | {"measure": IMPORTED}
        return values

    @model_validator(mode="after")
    def _imported(self) -> "SubsetConfig":
        if self.indices is None and self.measure == IMPORTED:
            raise ValueError("measure imported needs indices, the file of the images to keep")
        if self.indices is not None and self.measure != IMPORTED:
            raise ValueError(
                f"indices and measure {self.measure} are both set; allowed: one of them"
            )
        if self.indices is not None and self.architecture_fraction is not None:
            raise ValueError(
                "indices and architecture_fraction are both set; allowed: one of them (a subset "
                "exported here brings both its lists)"
            )
        return self
