"""Settings of the fidelity of a subset: the architectures that are ranked, and their training."""

from typing import Literal

from pydantic import Field

from classification.settings import ADDED_LATER
from evaluate.brief_training import BriefTraining


class FidelityConfig(BriefTraining, frozen=True, extra="forbid"):
    """The architectures to rank, and their training."""

    architectures: int = Field(24, ge=3, description="number of architectures to rank")
    sampling: Literal["uniform", "spread"] = Field(
        "uniform",
        description="uniform: drawn at random from the search space, which gives networks of "
        "similar size; spread: the share of convolutions among the operations grows evenly from "
        "0 for the first to 1 for the last, so that sizes and errors differ",
        json_schema_extra=ADDED_LATER,
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="seed of the architectures, so that runs of several seeds rank the same ones; "
        "none means the run's seed",
        json_schema_extra=ADDED_LATER,
    )
