"""Contest: the found genotypes against random and published ones, under equal brief training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from classification.acceleration import check_acceleration
from classification.data.config import AugmentationSettings
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object
from classification.settings import ADDED_LATER
from evaluate.budget import BudgetConfig
from evaluate.contest_config import ContestConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.search import GENOTYPE, searches_of
from pipeline.stages.width import CONTEST, WIDTHS, WidthSettings, describe_width
from pipeline.stages.width import settings as width_settings
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from evaluate.contest import Contestant

LATENCY = "latency.json"


class ContestSettings(StageSettings):
    """The contestants, their training, the budgets, and the augmentation of the target."""

    contest: ContestConfig
    budget: WidthSettings | None
    more_budgets: tuple[BudgetConfig, ...] = Field((), json_schema_extra=ADDED_LATER)
    augmentation: AugmentationSettings
    seed: int

    @property
    def widths(self) -> list[WidthSettings]:
        """What decides the widths, for each budget."""
        if self.budget is None:
            return []
        others = [self.budget.model_copy(update={"budget": own}) for own in self.more_budgets]
        return [self.budget, *others]


def run(context: Context[ContestSettings]) -> None:
    """Target, all searches → contest.json, the winner's genotype.json, metrics.jsonl, latency.json;
    with a budget, widths.json.

    latency.json differs between two runs of the same contest: it is measured afterwards, and
    decides nothing. With a budget of latency so does widths.json, which is written before the
    first training: a resumed contest keeps the widths that it began with.
    """
    from evaluate.contest import (  # slow to import
        contestant_latency,
        hold_contest,
        remove_trainings,
        uncontended,
    )
    from pipeline.device import device_name

    settings, contest, parts = context.settings, context.settings.contest, context.parts
    contestants, out = _contestants(context)
    target = context.datasets["target"]
    if parts is not None:
        parts.open()
    result = hold_contest(
        contestants,
        target,
        contest,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
        claim=uncontended if parts is None else parts.claim,
    )
    with nullcontext() if parts is None else parts.all_closed():
        remove_trainings(context.workspace)
    winner = contestants[result["winner"]]
    context.log(f"contest: {winner.name} won among {len(contestants)} contestants")
    result |= {"winner": winner.name, "out": out}
    for budget, index in enumerate(result.get("winners", ())):
        result["winners"][budget] = contestants[index].name
        context.log(f"contest: {contestants[index].name} won within budget {budget + 1}")
    write_atomically(context.workspace.path(CONTEST), json.dumps(result, indent=1) + "\n")
    winner.genotype.save(context.workspace.path(GENOTYPE))
    if context.workspace.world.is_first:
        latencies = [
            contestant_latency(each, target, contest, context.device) for each in contestants
        ]
        measured = {"device": device_name(context.device), "ms": latencies}
        write_atomically(context.workspace.path(LATENCY), json.dumps(measured) + "\n")


def help_others(context: Context[ContestSettings]) -> None:
    """Train contestants of a contest that another process holds."""
    from evaluate.contest import Trainings, help_contest, hold_out  # slow to import

    settings, contest, parts = context.settings, context.settings.contest, context.parts
    assert parts is not None
    split = hold_out(context.datasets["target"], contest.held_out, settings.seed)
    contestants, _ = _contestants(context)
    place = context.device, context.workspace, parts.claim, parts.booked
    help_contest(Trainings(contestants, split, contest, settings.seed, *place))


def most_contestants(config: PipelineConfig) -> int:
    """Return the number of contestants that can train side by side, at most."""
    own = contest_of(config)
    architectures = own.restarts * (1 + own.last_epochs) + own.random + len(own.published)
    return architectures * max(1, len(config.budgets))


def settings(config: PipelineConfig) -> ContestSettings:
    """Return the settings of the stage."""
    return ContestSettings(
        contest=contest_of(config),
        budget=None if config.budget is None else width_settings(config),
        more_budgets=config.budgets[1:],
        augmentation=config.target.augmentation,
        seed=config.seed,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a target on which the contestants cannot be trained."""
    from evaluate.contest import check_contest

    contest = contest_of(config)
    check_acceleration("contest.training", contest.training.precision, "auto", device)
    check_contest(contest, datasets["target"])


def found_contestants(searches: Mapping[str, Artifact], last_epochs: int) -> list[Contestant]:
    """Return the genotype of each search, then those of its last epochs, each once."""
    from classification.persistence.workspace import read_metrics
    from evaluate.contest import Contestant
    from pcdarts.genotype import Genotype

    found = []
    for name, artifact in searches.items():
        genotype = Genotype.load(artifact.path / GENOTYPE)
        found.append(Contestant(name, "found", genotype))
    for name, artifact in searches.items():
        rows = read_metrics(artifact.path)
        for row in rows[max(0, len(rows) - last_epochs) :]:
            genotype = Genotype.from_dict(row["genotype"], f"{name}: epoch {row['epoch']}")
            if all(genotype != other.genotype for other in found):
                label = f"{name}, epoch {row['epoch']}"
                found.append(Contestant(label, "earlier epoch", genotype))
    return found


def _contestants(
    context: Context[ContestSettings],
) -> tuple[list[Contestant], list[dict[str, Any]]]:
    """Return the contestants, found and named, that fit the budget, and a record of the others."""
    from evaluate.contest import named_contestants  # slow to import

    contest = context.settings.contest
    found = found_contestants(context.inputs, contest.last_epochs)
    return _within_budget(context, [*found, *named_contestants(contest, context.settings.seed)])


def _within_budget(
    context: Context[ContestSettings], architectures: Sequence[Contestant]
) -> tuple[list[Contestant], list[dict[str, Any]]]:
    """Return the contestants: each architecture with the channels of its widest network within the
    budget, of several budgets once for each number of channels; and a record of those that fit a
    budget at no width. Raises ConfigError if none fits a budget."""
    budgets = context.settings.widths
    if not budgets:
        return list(architectures), []
    several = len(budgets) > 1
    widths = context.workspace.world.from_first(lambda: _widths(context, architectures))
    found, out = [], []
    for each in architectures:
        own: dict[int, list[int]] = {}  # the budgets that chose each number of channels
        for index, width in enumerate(widths[each.name] if several else [widths[each.name]]):
            if "channels" in width:
                own.setdefault(width["channels"], []).append(index)
                continue
            of = f" of budget {index + 1}" if several else ""
            context.log(f"contest: {each.name} is out{of}: {width['excess']}")
            record = {"name": each.name, "kind": each.kind, "genotype": each.genotype.to_dict()}
            out.append(record | {"excess": width["excess"]} | ({"budget": index} if of else {}))
        for channels, chosen_by in own.items():
            entered = replace(each, channels=channels)
            if several:
                entered = replace(
                    entered,
                    name=f"{each.name}, {channels} channels",
                    budgets=tuple(chosen_by),
                    architecture=each.name,
                )
            found.append(entered)
    for index in range(len(budgets)):
        if all(index not in each.budgets for each in found):
            first = next(each for each in out if each.get("budget", 0) == index)
            raise ConfigError(
                f"{f'budget.{index}' if several else 'budget'}: no contestant fits it "
                f"({first['name']}: {first['excess']}); allowed: a larger one, or fewer "
                "retrain.cells"
            )
    return found, out


def _widths(
    context: Context[ContestSettings], architectures: Sequence[Contestant]
) -> dict[str, Any]:
    """Return the content of widths.json, chosen once: an architecture that fits at no width has
    only the "excess" of its narrowest network."""
    path, budgets = context.workspace.path(WIDTHS), context.settings.widths
    if path.exists():
        return read_object(path)
    widths = {}
    for each in architectures:
        own = [_width(context, budget, each) for budget in budgets]
        widths[each.name] = own if len(budgets) > 1 else own[0]
    write_atomically(path, json.dumps(widths, indent=1) + "\n")
    return widths


def _width(
    context: Context[ContestSettings], budget: WidthSettings, architecture: Contestant
) -> dict[str, Any]:
    from evaluate.width import NarrowestExceedsBudgetError  # slow to import

    target = context.datasets["target"]
    try:
        return describe_width(budget, architecture.genotype, target, context.device)
    except NarrowestExceedsBudgetError as error:
        return {"excess": error.excess}


def contest_of(config: PipelineConfig) -> ContestConfig:
    """Return the settings of the contest, of a config that has one."""
    assert config.contest is not None  # the stage exists only if it is set
    return config.contest


STAGE = Stage(
    "contest",
    4,
    lambda config: ("target", *searches_of(config)),
    settings,
    check,
    run,
    parallel=True,
    help=help_others,
    parts=most_contestants,
    section=lambda config: "contest.training",
)
