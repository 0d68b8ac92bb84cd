"""The measures that images are chosen by, the orders made of one, and settings of single ones."""

from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

Uncertainty = Literal["mutual_information", "entropy"]


Measure = Literal[
    "cv",
    "mean_high",
    "mean_low",
    "std",
    "mc_dropout",
    "k_center",
    "el2n",
    "entropy",
    "entropy_low",
    "moderate",
    "forgetting",
    "aum_low",
    "aum_high",
    "el2n_early",
    "grand",
    "random",
    "full",
    "score",
    "score_low",
    "imported",
]
OF_LOSSES = ("cv", "mean_high", "mean_low", "std")  # under mixing
OF_SCORER = ("mc_dropout", "k_center", "el2n", "entropy", "entropy_low", "moderate")
OF_TRAINING = ("forgetting", "aum_low", "aum_high")  # recorded in the scorer's training
OF_EARLY = ("el2n_early", "grand")  # of networks trained for a few epochs
OF_FILE = ("score", "score_low")
# Measures whose highest values are the hardest images'.
OF_DIFFICULTY = (
    "mean_high", "mc_dropout", "el2n", "entropy", "forgetting", "aum_low", "el2n_early", "grand",
    "score",
)  # fmt: skip
IMPORTED = "imported"  # the measure of a subset from a file
MEASURES_OF_FILES = (*OF_FILE, IMPORTED)  # the cost of these files is unknown

Order = Literal["deterministic", "interval", "ccs", "p1", "p2", "p3"]
PROBABILITIES = ("p1", "p2", "p3")
OF_ENTROPY = ("entropy", "score")  # measures that probabilities can be made of


class DropoutConfig(BaseModel, frozen=True, extra="forbid"):
    """Monte-Carlo dropout (Gal & Ghahramani 2016; Gal, Islam & Ghahramani 2017).

    Jeong et al. 2023 call their baseline an uncertainty derived by weight dropout, cite the second
    paper and give no details. The default is mutual information (BALD): of the uncertainties
    compared there, it measures the effect of dropout and is zero without it.
    """

    uncertainty: Uncertainty = Field(
        "mutual_information",
        description="mutual information of an image's class and the weights (BALD); or the entropy "
        "of its mean prediction, which is also high if all weights agree that the class is unclear",
    )
    rate: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the features dropped; 0.5 as in Gal et al. 2017. Mutual information "
        "needs more than 0",
    )
    passes: int = Field(
        100, ge=1, le=10_000, description="draws of the weights (T); the paper gives none"
    )

    @field_validator("rate", "passes")
    @classmethod
    def _varies(cls, value: float, info: ValidationInfo) -> float:
        least = {"rate": 0, "passes": 1}[str(info.field_name)]
        if value == least and info.data.get("uncertainty") == "mutual_information":
            raise ValueError(
                "the mutual information is then 0 for every image; allowed: more, or uncertainty: "
                "entropy"
            )
        return value


class StratificationConfig(BaseModel, frozen=True, extra="forbid"):
    """Coverage-centric coreset selection (CCS), Zheng et al. 2023."""

    beta: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each class that is cut first, its hardest images; the paper chooses "
        "it for each dataset and fraction by a grid search, e.g. 0.3 on CIFAR-10 for 0.1",
    )
    strata: int = Field(
        50,
        ge=1,
        description="ranges of equal width of the measure, from each of which as many; at most the "
        "images kept of a class, so that each gives one",
    )


class EarlyConfig(BaseModel, frozen=True, extra="forbid"):
    """Scores early in training, Paul et al. 2021: 10 networks, EL2N after 20 of 200 epochs."""

    epoch: int | None = Field(
        None,
        ge=1,
        description="epochs of the scorer's recipe that each network is trained for; none: a tenth "
        "of them, rounded up",
    )
    networks: int = Field(
        10, ge=1, le=1000, description="that are trained and whose values are averaged"
    )
