"""Width: the channels of the widest network within the budget.

The width is chosen once. A latency differs from measurement to measurement, but a resumed run, and
another run with the same settings, finds the width in this stage's artifact. A contest chooses the
widths of its contestants before they train; the winner's is then taken from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object
from evaluate.budget import BudgetConfig
from evaluate.retrain_config import RetrainConfig
from pcdarts.network_kind import NetworkKind
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.genotype import genotype_stage, load_genotype
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from evaluate.width import Width
    from pcdarts.genotype import Genotype

WIDTH, CONTEST = "width.json", "contest.json"
WIDTHS = "widths.json"
"""In a contest with a budget: the content of width.json of each contestant, by name; with several
budgets, a list of them for each architecture, in the order of the budgets."""


class WidthSettings(StageSettings):
    """The budget, and what decides the network apart from genotype and width."""

    budget: BudgetConfig
    network: NetworkKind
    cells: int

    @property
    def shape(self) -> RetrainConfig:
        """The config of such a network."""
        return RetrainConfig.model_validate({"network": self.network, "cells": self.cells})


def run(context: Context[WidthSettings]) -> None:
    """Target, genotype → width.json: the chosen channels, what they need, and the next width."""
    found = _width_in_contest(context)
    if found is None:
        genotype, target = load_genotype(context), context.datasets["target"]
        found = describe_width(context.settings, genotype, target, context.device)
    context.log(width_line(found))
    write_atomically(context.workspace.path(WIDTH), json.dumps(found, indent=1) + "\n")


def describe_width(
    settings: WidthSettings, genotype: Genotype, target: ImageDataset, device: torch.device
) -> dict[str, Any]:
    """Choose the width. Return the content of width.json: the chosen network, the budget, and the
    next network with the limit that it exceeds."""
    from evaluate.width import LATENCY_RUNS, choose_width  # slow to import
    from pipeline.device import device_name

    budget = settings.budget
    chosen, following = choose_width(
        genotype, settings.shape, target.num_classes, target.image_size, budget, device
    )
    measured = {"device": device_name(device), "runs": LATENCY_RUNS}
    return {
        **_needs_of(chosen),
        "image_size": target.image_size,
        "budget": budget.model_dump(mode="json", exclude_none=True),
        "latency_measured": None if budget.latency is None else measured,
        "next": following and {**_needs_of(following), "excess": following.excess(budget)},
    }


def width_line(found: Mapping[str, Any]) -> str:
    """Return one line for the content of width.json."""
    size, following, measured = found["image_size"], found["next"], found["latency_measured"]
    latency = ""
    if measured is not None:
        latency = (
            f", {found['latency_ms']:.3g} ms an image (median of {measured['runs']} on "
            f"{measured['device']})"
        )
    beyond = "the budget allows a wider one, but no wider one is tried"
    if following is not None:
        beyond = f"for {following['channels']} channels, {following['excess']} needed"
    return (
        f"width: {found['channels']} channels, the widest within the budget: "
        f"{found['parameters']:,} parameters, {found['multiply_adds']:,} multiply-adds of "
        f"convolutions and classifier at {size}×{size} ({found['all_multiply_adds']:,} with "
        f"normalisation and activations){latency}; {beyond}"
    )


def chosen_width(artifact: Artifact) -> dict[str, Any]:
    """Return the content of width.json in the stage's artifact."""
    return read_object(artifact.path / WIDTH)


def settings(config: PipelineConfig) -> WidthSettings:
    """Return the settings of the stage. Of several budgets it has the first."""
    assert config.budgets  # no stage needs the width without a budget
    return WidthSettings(
        budget=config.budgets[0],
        network=config.retrain.network,
        cells=config.retrain.cells,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a budget below the narrowest network of the genotype, or of any if it is not known."""
    from evaluate.width import check_budget  # slow to import
    from pcdarts.genotype_files import find_genotype

    own, target = settings(config), datasets["target"]
    known = None if config.genotype is None else find_genotype(config.genotype)
    several = len(config.budgets) > 1
    for index, budget in enumerate(config.budgets):
        key = f"budget.{index}" if several else "budget"
        check_budget(known, own.shape, target.num_classes, target.image_size, budget, device, key)


def _width_in_contest(context: Context[WidthSettings]) -> dict[str, Any] | None:
    """Return the width that the winner of a contest competed with, None without a contest. With
    several budgets it is the winner, and the width, of the first."""
    artifact = context.inputs.get("contest")
    if artifact is None or not (artifact.path / WIDTHS).exists():  # an estimate has a stand-in
        return None
    contest = read_object(artifact.path / CONTEST)
    winner = next(each for each in contest["contestants"] if each["name"] == contest["winner"])
    return widths_of(winner, read_object(artifact.path / WIDTHS))[0]


def widths_of(contestant: Mapping[str, Any], widths: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the widths of a contestant of contest.json, one for each budget that chose it.

    `widths` is the content of widths.json.
    """
    if "budgets" not in contestant:
        return [widths[contestant["name"]]]
    return [widths[contestant["architecture"]][index] for index in contestant["budgets"]]


def of_budget(contestants: Sequence[Mapping[str, Any]], index: int) -> list[Mapping[str, Any]]:
    """Return the contestants of contest.json of one of several budgets, all if there is none or
    one."""
    return [each for each in contestants if index in each.get("budgets", (index,))]


def _needs_of(width: Width) -> dict[str, Any]:
    return {
        "channels": width.channels,
        "parameters": width.complexity.parameters,
        "multiply_adds": width.complexity.multiply_adds,
        "all_multiply_adds": width.complexity.all_multiply_adds,
        "latency_ms": width.latency,
    }


STAGE = Stage(
    "width",
    1,
    lambda config: ("target", genotype_stage(config)),
    settings,
    check,
    run,
)
