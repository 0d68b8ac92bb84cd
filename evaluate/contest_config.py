"""Settings of a contest: the contestants, the rounds, and the training of each contestant."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from evaluate.brief_training import BriefTraining

MAX_RESTARTS = 16

PublishedName = Literal["darts_v1", "darts_v2", "pcdarts_cifar10", "pcdarts_imagenet"]


class ContestConfig(BriefTraining, frozen=True, extra="forbid"):
    """The contestants of a contest, its rounds, and the training of each contestant."""

    restarts: int = Field(
        1,
        ge=1,
        le=MAX_RESTARTS,
        description="searches on the same subset, each with its own seed; scorer, scores and "
        "subset are made once. 1: the run's search only",
    )
    last_epochs: int = Field(
        0, ge=0, description="genotypes of the last epochs of each search, without repetitions"
    )
    random: int = Field(8, ge=0, description="architectures drawn from the search space")
    published: tuple[PublishedName, ...] = Field((), description="published genotypes, by name")
    rounds: int = Field(
        3,
        ge=1,
        description="rounds of training. The first lasts training.epochs for each contestant, each "
        "later one longer by 1 / share_kept, so that every round costs about the same",
    )
    share_kept: float = Field(0.5, gt=0, lt=1, description="of the contestants, after each round")
    held_out: float = Field(
        0.2, gt=0, lt=1, description="of the target's train of each class, to compare contestants"
    )

    @field_validator("published")
    @classmethod
    def _once(cls, names: tuple[PublishedName, ...]) -> tuple[PublishedName, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a name occurs twice; allowed: each once")
        return names

    @model_validator(mode="after")
    def _has_contestants(self) -> "ContestConfig":
        if self.restarts == 1 and not (self.random or self.published or self.last_epochs):
            raise ValueError(
                "no contestants other than the search's genotype; allowed: restarts above 1, or "
                "random, published or last_epochs"
            )
        return self
