"""Settings of pruning: the images that a search drops while it runs, and when."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from classification.settings import ADDED_LATER

PRUNING = "pruning.json"
"""The file of a search that lists the images that each round kept, and those of a warm-up on a
sample."""


class PruningConfig(BaseModel, frozen=True, extra="forbid"):
    """Images that the search drops while it runs: after some epochs and in several rounds, down to
    a part of them. In the spirit of Bi-level Data Pruning (Tu et al. 2023)."""

    by: Literal["dynamics", "random"] = Field(
        "dynamics",
        description="which images are dropped: those whose predictions by the supernet change "
        "least from epoch to epoch, or random ones, the control",
    )
    predictions: Literal["plain", "mixes"] = Field(
        "plain",
        description="images whose predictions are observed: as they are, or each under a random "
        "DCutMix of 5 images per epoch; not used with by: random",
    )
    observations: int = Field(
        2,
        ge=2,
        description="epochs before each round, after which the predictions are observed; not "
        "used with by: random",
    )
    after_epochs: int = Field(5, gt=0, description="epochs before the first round, e")
    every_epochs: int = Field(5, gt=0, description="epochs from round to round, p")
    rounds: int = Field(
        3, gt=0, description="rounds; each keeps the same share of the images that it finds"
    )
    final_fraction: float = Field(
        0.1, gt=0, lt=1, description="part of each class that is left after the last round"
    )
    warmup_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="random part of each class in each half on which the search trains until the "
        "first round, which then observes and ranks all images; none: it trains on all of them",
        json_schema_extra=ADDED_LATER,
    )

    @property
    def by_dynamics(self) -> bool:
        """Whether predictions are observed."""
        return self.by == "dynamics"

    @property
    def round_epochs(self) -> range:
        """Epochs, from 1, after which a round drops images."""
        end = self.after_epochs + self.rounds * self.every_epochs
        return range(self.after_epochs, end, self.every_epochs)

    @property
    def observed_epochs(self) -> dict[int, int]:
        """Epochs, from 1, after which predictions are observed, and for which round, from 1."""
        if not self.by_dynamics:
            return {}
        return {
            epoch: number
            for number, last in enumerate(self.round_epochs, 1)
            for epoch in range(last - self.observations + 1, last + 1)
        }

    def fraction_after(self, epochs: int) -> float:
        """Return the part of each class that is left after `epochs` epochs."""
        done = sum(epoch <= epochs for epoch in self.round_epochs)
        return self.final_fraction ** (done / self.rounds)

    def trained_fraction(self, epochs: int) -> float:
        """Return the part of each class that the search trains on after `epochs` epochs."""
        if self.warmup_fraction is not None and epochs < self.after_epochs:
            return self.warmup_fraction
        return self.fraction_after(epochs)

    def sampled_of(self, images: int) -> int:
        """Return how many of `images` images of a class the search trains on until round 1."""
        return max(1, round(images * (self.warmup_fraction or 1)))

    def kept_of(self, images: int, number: int) -> int:
        """Return how many of `images` images of a class are left after round `number`, from 1."""
        return max(1, round(images * self.final_fraction ** (number / self.rounds)))

    def check(self, epochs: int) -> None:
        """Raise ValueError if the schedule does not fit into a search of `epochs` epochs."""
        last = self.round_epochs[-1]
        if last >= epochs:
            raise ValueError(
                f"after_epochs {self.after_epochs}, every_epochs {self.every_epochs} and rounds "
                f"{self.rounds} set the last round after epoch {last}; allowed: before the last "
                f"epoch (search.epochs: {epochs})"
            )

    @model_validator(mode="after")
    def _observed_in_time(self) -> Self:
        keys = ("after_epochs", "every_epochs")[: self.rounds] if self.by_dynamics else ()
        for key in keys:
            if getattr(self, key) < self.observations:
                raise ValueError(
                    f"{key} {getattr(self, key)} is less than the epochs observed before each "
                    f"round (observations: {self.observations}); allowed: at least "
                    f"{self.observations}"
                )
        return self
