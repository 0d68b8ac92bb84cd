"""Settings of the fidelity of a subset: the architectures that are ranked, and their training."""

from pydantic import Field

from evaluate.brief_training import BriefTraining


class FidelityConfig(BriefTraining, frozen=True, extra="forbid"):
    """The number of architectures to rank, and their training."""

    architectures: int = Field(24, ge=3, description="drawn at random from the search space")
