"""Subset: the first images of each class, sorted by the measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from classification.settings import part_of
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from subsample.config import LossesConfig, SelectionConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

    from classification.data.datasets import ImageDataset
    from subsample.uncertainty import Scores

SUBSET = "subset.json"


class SubsetSettings(StageSettings):
    """The selection, the summary of losses if it uses them, and the seed if it is random."""

    subset: SelectionConfig
    scores: LossesConfig | None
    seed: int | None


def run(context: Context[SubsetSettings]) -> None:
    """Data, scores (where the measure needs them) → subset.json."""
    import numpy as np  # slow to import, with what follows

    from subsample.selection import Subset, class_histogram, describe_small_classes, select_parts

    settings, data = context.settings, context.datasets["data"]
    subset, labels = settings.subset, data.train.labels.numpy()
    scores = read_scores(subset, settings.scores, context.input)
    indices, for_architecture = select_parts(labels, subset, scores, settings.seed or 0)
    kept = indices if for_architecture is None else np.append(indices, for_architecture)
    Subset(
        dataset=data.name,
        content_hash=data.content_hash,
        split="train",
        measure=subset.measure,
        order=subset.order,
        fraction=subset.fraction,
        indices=tuple(indices.tolist()),
        architecture_indices=(
            None if for_architecture is None else tuple(for_architecture.tolist())
        ),
        class_histogram=class_histogram(labels[kept], data.classes),
        scorer=_scorer_of(context),
        seed=settings.seed,
    ).save(context.workspace.path(SUBSET))
    if note := describe_small_classes(labels, subset):
        context.log(note)


def settings(config: PipelineConfig) -> SubsetSettings:
    """Return the settings of the stage."""
    subset = config.subset
    return SubsetSettings(
        subset=part_of(subset, SelectionConfig),
        scores=part_of(config.scores, LossesConfig) if subset.needs_scores else None,
        seed=config.seed if subset.by_chance else None,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a second list without an image of a class.

    The stages that use the subset check its size.
    """
    if config.subset.architecture_fraction is not None:
        from subsample.selection import check_selection

        data = datasets["data"]
        check_selection(data.train.labels.numpy(), config.subset, data.classes)


def num_kept(config: PipelineConfig, data: ImageDataset) -> int:
    """Return the size of the subset, which is the same for every measure."""
    from subsample.selection import select

    by_chance = config.subset.model_copy(update={"measure": "random"})
    return len(select(data.train.labels.numpy(), by_chance, None, config.seed))


def read_scores(
    subset: SelectionConfig, losses: LossesConfig | None, path: Callable[[str, str], Path]
) -> Scores | np.ndarray | None:
    """Read what images are ranked by, [N]; None if by nothing measured.

    `path` returns the path of a file in a stage's artifact.
    """
    from classification.persistence.arrays import read_array
    from subsample.uncertainty import summarise

    if subset.needs_scores:
        assert losses is not None
        return summarise(read_array(path("scores", LOSSES), 2), losses)
    return read_array(path("baseline", VALUES), 1) if subset.needs_baseline else None


def _scorer_of(context: Context[SubsetSettings]) -> str | None:
    """Return the fingerprint of the scorer of the scores."""
    measured = context.inputs.get("scores") or context.inputs.get("baseline")
    return None if measured is None else measured.manifest["inputs"]["scorer"]["fingerprint"]


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    if config.subset.needs_baseline:
        return ("data", "baseline")
    return ("data", "scores") if config.subset.needs_scores else ("data",)


STAGE = Stage("subset", 1, _needs, settings, check, run)
