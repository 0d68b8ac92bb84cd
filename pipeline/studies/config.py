"""Settings of a study: its base config, series, grid and seeds.

name: figure5a-small
base: small.yaml                      # relative to this file
seeds: 3
set: {goal: subset}                   # in every trial
x: subset.fraction                    # a dotted key, or cost
grid: {subset.fraction: [0.05, 0.1]}  # for every series without its own
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: random, set: {subset.measure: random}}
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

COST = "cost"
Settings = dict[str, Any]  # dotted key → value
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$"


class SeriesConfig(BaseModel, frozen=True, extra="forbid"):
    """One curve: the settings common to its trials, and the points along it."""

    name: str = Field(min_length=1, max_length=60, description="in figures and tables")
    set: Settings = Field(default_factory=dict, description="dotted key: value, in all its trials")
    points: list[Settings] | None = Field(None, description="settings of each point")
    grid: dict[str, list[Any]] | None = Field(
        None, description="dotted key: values; the points are all combinations"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "SeriesConfig":
        if self.points is not None and self.grid is not None:
            raise ValueError("points and grid cannot be used together")
        return self


class StudyConfig(BaseModel, frozen=True, extra="forbid"):
    """Many runs that share a store, and the figure that shows them."""

    name: str = Field(pattern=_NAME, description="name of the study's folder in runs/")
    base: Path = Field(description="config of every trial, relative to the study's file")
    seeds: int = Field(3, ge=1, le=100, description="seeds per trial, from the base's seed upwards")
    set: Settings = Field(default_factory=dict, description="dotted key: value, in every trial")
    x: str = Field(COST, description="the figure's axis: a dotted key that holds a number, or cost")
    panels: str | None = Field(
        None, description="a dotted key; each of its values gets a separate figure"
    )
    points: list[Settings] | None = Field(None, description="points of series without their own")
    grid: dict[str, list[Any]] | None = Field(None, description="grid of series without their own")
    series: list[SeriesConfig] = Field(min_length=1, description="the curves")
    reference: str | None = Field(
        None, description="a series; other series' errors are compared with its errors per seed"
    )
    error: Literal["goal", "contest"] = Field(
        "goal",
        description="error of a trial: goal, of what its goal produces, on the evaluated images; "
        "or contest, the mean over the networks that its searches found, trained equally and "
        "evaluated on images held out of the training ones; nothing is then retrained",
    )
    agreement: bool = Field(
        False, description="report how similar rankings and subsets are, and describe the subsets"
    )
    table_6: bool = Field(False, description="compare the trials with the published Table 6")

    @model_validator(mode="after")
    def _consistent(self) -> "StudyConfig":
        if self.points is not None and self.grid is not None:
            raise ValueError("points and grid cannot be used together")
        names = [series.name for series in self.series]
        if self.reference is not None and self.reference not in names:
            raise ValueError(f"reference {self.reference!r}; allowed: {', '.join(names)}")
        return self
