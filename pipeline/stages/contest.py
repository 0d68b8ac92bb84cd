"""Contest: the found genotypes against random and published ones, under equal brief training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classification.acceleration import check_acceleration
from classification.data.config import AugmentationSettings
from classification.persistence.storage import write_atomically
from evaluate.contest_config import ContestConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.search import GENOTYPE, searches_of

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from evaluate.contest import Contestant
    from pcdarts.genotype import Genotype

CONTEST, LATENCY = "contest.json", "latency.json"


class ContestSettings(StageSettings):
    """The contestants, their training, and the augmentation of the target."""

    contest: ContestConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[ContestSettings]) -> None:
    """Target, all searches → contest.json, the winner's genotype.json, metrics.jsonl, latency.json.

    latency.json is the only file whose bytes differ between two runs of the same contest: it is
    measured after it, and decides nothing.
    """
    from evaluate.contest import contestant_latency, hold_contest, named_contestants  # slow

    settings, contest = context.settings, context.settings.contest
    contestants = [*_found(context), *named_contestants(contest, settings.seed)]
    target = context.datasets["target"]
    result = hold_contest(
        contestants,
        target,
        contest,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    winner = contestants[result["winner"]]
    context.log(f"contest: {winner.name} won among {len(contestants)} contestants")
    write_atomically(context.workspace.path(CONTEST), json.dumps(result, indent=1) + "\n")
    winner.genotype.save(context.workspace.path(GENOTYPE))
    if context.workspace.world.is_first:
        latencies = [
            contestant_latency(each, target, contest, context.device) for each in contestants
        ]
        write_atomically(context.workspace.path(LATENCY), json.dumps(latencies) + "\n")


def settings(config: PipelineConfig) -> ContestSettings:
    """Return the settings of the stage."""
    return ContestSettings(
        contest=_contest(config), augmentation=config.target.augmentation, seed=config.seed
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a target on which the contestants cannot be trained."""
    from evaluate.contest import check_contest

    contest = _contest(config)
    check_acceleration("contest.training", contest.training.precision, "auto", device)
    check_contest(contest, datasets["target"])


def genotype_stage(config: PipelineConfig) -> str:
    """Return the stage whose genotype a run retrains."""
    if config.genotype is not None:
        return "genotype"
    return "search" if config.contest is None else "contest"


def load_genotype(context: Context[Any]) -> Genotype:
    """Read the genotype to retrain: the contest's winner, the given one, or the only search's."""
    from pcdarts.genotype import Genotype

    stages = ("contest", "genotype", "search")
    stage = next(name for name in stages if name in context.inputs)
    return Genotype.load(context.input(stage, GENOTYPE))


def _found(context: Context[ContestSettings]) -> list[Contestant]:
    """Return the genotype of each search, then those of its last epochs, each once."""
    from classification.persistence.workspace import read_metrics
    from evaluate.contest import Contestant
    from pcdarts.genotype import Genotype

    found = []
    for name, artifact in context.inputs.items():
        genotype = Genotype.load(artifact.path / GENOTYPE)
        found.append(Contestant(name, "found", genotype))
    for name, artifact in context.inputs.items():
        rows = read_metrics(artifact.path)
        for row in rows[max(0, len(rows) - context.settings.contest.last_epochs) :]:
            genotype = Genotype.from_dict(row["genotype"], f"{name}: epoch {row['epoch']}")
            if all(genotype != other.genotype for other in found):
                label = f"{name}, epoch {row['epoch']}"
                found.append(Contestant(label, "earlier epoch", genotype))
    return found


def _contest(config: PipelineConfig) -> ContestConfig:
    assert config.contest is not None  # the stage exists only if it is set
    return config.contest


STAGE = Stage(
    "contest",
    2,
    lambda config: ("target", *searches_of(config)),
    settings,
    check,
    run,
    parallel=True,
    section=lambda config: "contest.training",
)
