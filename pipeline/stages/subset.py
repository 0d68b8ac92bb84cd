"""Subset: the images of each class that the measure puts first."""

import numpy as np

from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from subsample.selection import Subset, class_histogram, select
from subsample.uncertainty import Scores, summarise

SUBSET = "subset.json"


def run(context: Context) -> None:
    """Data, scores (where the measure needs them) → subset.json."""
    config, data = context.config, context.datasets["data"]
    labels = data.train.labels.numpy()
    scores: Scores | np.ndarray | None = None
    if config.subset.needs_baseline:
        scores = np.load(context.input("baseline", VALUES))
    elif config.subset.needs_scores:
        scores = summarise(np.load(context.input("scores", LOSSES)), config.scores)
    indices = select(labels, config.subset, scores, config.seed)
    Subset(
        dataset=data.name,
        content_hash=data.content_hash,
        split="train",
        measure=config.subset.measure,
        order=config.subset.order,
        fraction=config.subset.fraction,
        indices=tuple(indices.tolist()),
        class_histogram=class_histogram(labels[indices], data.classes),
        scorer=_scorer_of(context),
        seed=config.seed,
    ).save(context.workspace.path(SUBSET))


def _scorer_of(context: Context) -> str | None:
    """The fingerprint of the scorer behind the scores."""
    measured = context.inputs.get("scores") or context.inputs.get("baseline")
    return None if measured is None else measured.manifest["inputs"]["scorer"]["fingerprint"]


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    if config.subset.needs_baseline:
        return ("data", "baseline")
    return ("data", "scores") if config.subset.needs_scores else ("data",)


STAGE = Stage(
    "subset",
    1,
    _needs,
    # Only a random subset depends on the seed beyond its scores.
    lambda config: {
        "subset": config.subset.model_dump(mode="json", exclude={"dropout"}),
        "seed": config.seed if config.subset.measure == "random" else None,
    },
    run,
)
