"""Settings of the subset."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from classification.settings import ADDED_LATER
from subsample.measures import (
    IMPORTED,
    MEASURES_OF_FILES,
    OF_DIFFICULTY,
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

MIN_PER_CLASS = 2  # one image for each part of the search: weights, and α, β
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
        if self.ccs.beta and self.measure not in OF_DIFFICULTY:
            raise ValueError(
                f"ccs.beta: found {self.ccs.beta} with measure {self.measure}, whose highest "
                f"values are not those of the hardest images, which beta is to cut; allowed: 0, or "
                f"measure {', '.join(OF_DIFFICULTY)}"
            )

    def num_in_parts(self, count: int) -> tuple[int, int]:
        """Return how many images of a class of `count` are kept, beside those for α and β alone,
        and how many are those."""
        if self.architecture_fraction is None:
            return _num_kept(count, self.fraction, MIN_PER_CLASS), 0
        kept = _num_kept(count, self.fraction)
        # Two shares that make up the class may both be rounded up.
        return kept, min(_num_kept(count, self.architecture_fraction), count - kept)

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


def _num_kept(count: int, fraction: float, at_least: int = 1) -> int:
    """Images kept of a class of `count`; a half rounds to the even number."""
    return min(count, max(at_least, round(fraction * count)))
