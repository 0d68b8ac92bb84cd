"""Ranking: architectures drawn by chance, each trained on the subset from scratch."""

import json
from collections.abc import Mapping
from typing import Any

from classification.persistence.storage import write_atomically
from evaluate.fidelity import train_architectures
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.subset import SUBSET
from subsample.selection import Subset

RANKING = "ranking.json"


def run(context: Context) -> None:
    """Data, subset → ranking.json: a list of genotype, parameters, top1_error in percent."""
    config, data = context.config, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    rows = train_architectures(
        config.fidelity,
        data.with_train(subset.indices),
        seed=config.seed,
        device=context.device,
        workspace=context.workspace,
    )
    write_atomically(context.workspace.path(RANKING), json.dumps(rows, indent=1) + "\n")


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """The architectures, their training, and how images are augmented."""
    fidelity = config.fidelity
    described = fidelity.model_dump(mode="json") | {"training": fidelity.training.identity()}
    return {"fidelity": described, "seed": config.seed, **config.data.augmentation_settings()}


STAGE = Stage("ranking", 1, lambda config: ("data", "subset"), settings, run, goal="ranking")
