"""Ranking: random architectures, each trained from scratch on the subset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.data.config import AugmentationSettings
from classification.persistence.storage import write_atomically
from evaluate.fidelity_config import FidelityConfig
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.subset import SUBSET, num_kept

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

RANKING = "ranking.json"


class RankingSettings(StageSettings):
    """The architectures, their training, and the augmentation."""

    fidelity: FidelityConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[RankingSettings]) -> None:
    """Data, subset → ranking.json: a list of genotype, parameters, top1_error in percent."""
    from evaluate.fidelity import train_architectures  # slow to import
    from subsample.selection import Subset

    settings, data = context.settings, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    rows = train_architectures(
        settings.fidelity,
        data.with_train(subset.indices),
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    write_atomically(context.workspace.path(RANKING), json.dumps(rows, indent=1) + "\n")


def settings(config: PipelineConfig) -> RankingSettings:
    """Return the settings of the stage."""
    return RankingSettings(
        fidelity=config.fidelity, augmentation=config.data.augmentation, seed=config.seed
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a subset on which the architectures cannot be trained."""
    from evaluate.fidelity import check_fidelity

    check_acceleration("fidelity.training", config.fidelity.training.precision, "auto", device)
    check_fidelity(config.fidelity, datasets["data"], num_kept(config, datasets["data"]))


STAGE = Stage(
    "ranking",
    3,
    lambda config: ("data", "subset"),
    settings,
    check,
    run,
    goal="ranking",
    section=lambda config: "fidelity.training",
)
