"""Subset: the images of each class that the measure puts first."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from classification.persistence.arrays import read_array
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from subsample.selection import Subset, class_histogram, select_parts
from subsample.uncertainty import Scores, summarise

SUBSET = "subset.json"


def run(context: Context) -> None:
    """Data, scores (where the measure needs them) → subset.json."""
    config, data = context.config, context.datasets["data"]
    labels = data.train.labels.numpy()
    scores: Scores | np.ndarray | None = None
    if config.subset.needs_baseline:
        scores = read_array(context.input("baseline", VALUES), 1)
    elif config.subset.needs_scores:
        scores = summarise(read_array(context.input("scores", LOSSES), 2), config.scores)
    indices, for_architecture = select_parts(labels, config.subset, scores, config.seed)
    kept = indices if for_architecture is None else np.append(indices, for_architecture)
    subset = Subset(
        dataset=data.name,
        content_hash=data.content_hash,
        split="train",
        measure=config.subset.measure,
        order=config.subset.order,
        fraction=config.subset.fraction,
        indices=tuple(indices.tolist()),
        architecture_indices=(
            None if for_architecture is None else tuple(for_architecture.tolist())
        ),
        class_histogram=class_histogram(labels[kept], data.classes),
        scorer=_scorer_of(context),
        seed=config.seed,
    )
    subset.save(context.workspace.path(SUBSET))


def _scorer_of(context: Context) -> str | None:
    """The fingerprint of the scorer behind the scores."""
    measured = context.inputs.get("scores") or context.inputs.get("baseline")
    return None if measured is None else measured.manifest["inputs"]["scorer"]["fingerprint"]


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    if config.subset.needs_baseline:
        return ("data", "baseline")
    return ("data", "scores") if config.subset.needs_scores else ("data",)


def _settings(config: PipelineConfig) -> Mapping[str, Any]:
    subset, exclude = config.subset, {"dropout"}
    if subset.architecture_fraction is None:  # so that subsets from before it keep their names
        exclude.add("architecture_fraction")
    # Beyond its scores, only what chance picks or deals out depends on the seed.
    seeded = subset.measure == "random" or subset.architecture_fraction is not None
    return {
        "subset": subset.model_dump(mode="json", exclude=exclude),
        "seed": config.seed if seeded else None,
    }


STAGE = Stage("subset", 1, _needs, _settings, run)
