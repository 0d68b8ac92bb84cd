"""Subset: the first images of each class, sorted by the measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from classification.errors import ConfigError
from classification.settings import WITHOUT_EFFECT, part_of
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.baseline import VALUES
from pipeline.stages.scores import LOSSES
from pipeline.store.store import file_digest
from subsample.config import LossesConfig
from subsample.measures import IMPORTED
from subsample.subset_config import SelectionConfig

if TYPE_CHECKING:
    import numpy as np
    import torch

    from classification.data.datasets import ImageDataset
    from subsample.uncertainty import Scores

SUBSET = "subset.json"
INDICES, SCORES = "subset.indices", "scores.file"  # keys, which open messages


class SelectedSubset(StageSettings):
    """The selection, the summary of losses if it uses them, and the seed if it is random."""

    subset: SelectionConfig
    scores: LossesConfig | None
    seed: int | None


class RankedSubset(SelectedSubset):
    """A selection by scores from a file, identified by the file's digest, not by its path."""

    digest: str
    file: Path = Field(json_schema_extra=WITHOUT_EFFECT)


class ImportedSubset(StageSettings):
    """A subset from a file, identified by the file's digest, not by its path."""

    digest: str
    file: Path = Field(json_schema_extra=WITHOUT_EFFECT)


SubsetSettings = SelectedSubset | RankedSubset | ImportedSubset


def run(context: Context[SubsetSettings]) -> None:
    """Data, scores (where the measure needs them) → subset.json."""
    import numpy as np  # slow to import, with what follows

    from subsample.selection import (
        Subset,
        class_histogram,
        describe_equal_values,
        describe_small_classes,
        select_parts,
    )

    settings, data = context.settings, context.datasets["data"]
    labels = data.train.labels.numpy()
    if isinstance(settings, ImportedSubset):
        _check_unchanged(settings, INDICES)
        indices, for_architecture = _read_subset(settings.file, data)
        share = len(indices) / len(labels)
        subset = SelectionConfig(measure=IMPORTED, fraction=share)
        seed = None
    else:
        subset, seed = settings.subset, settings.seed
        scores = (
            _read_values(settings, data)
            if isinstance(settings, RankedSubset)
            else read_scores(subset, settings.scores, context.input)
        )
        indices, for_architecture = select_parts(labels, subset, scores, seed or 0)
        if warning := describe_equal_values(labels, subset, scores, data.classes):
            context.log(f"warning: {warning}")
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
        seed=seed,
    ).save(context.workspace.path(SUBSET))
    if subset.measure == IMPORTED:
        return
    if note := describe_small_classes(labels, subset):
        context.log(note)


def settings(config: PipelineConfig) -> SubsetSettings:
    """Return the settings of the stage."""
    subset = config.subset
    if subset.indices is not None:
        return ImportedSubset(digest=_digest(subset.indices, INDICES), file=subset.indices)
    selected = SelectedSubset(
        subset=part_of(subset, SelectionConfig),
        scores=part_of(config.scores, LossesConfig) if subset.needs_scores else None,
        seed=config.seed if subset.by_chance else None,
    )
    file = config.scores.file
    if not subset.needs_file or file is None:
        return selected
    return RankedSubset(**dict(selected), digest=_digest(file, SCORES), file=file)


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject files that do not fit the images, an order that cannot be made of them, and a second
    list without an image of a class.

    The stages that use the subset check its size.
    """
    data, subset = datasets["data"], config.subset
    values = _read_values(settings(config), data) if subset.needs_file else None
    if subset.indices is not None:
        _read_subset(subset.indices, data)
    if subset.architecture_fraction is None and subset.order in ("deterministic", "interval"):
        return
    from subsample.orders import check_order
    from subsample.selection import check_selection, class_histogram

    labels = data.train.labels.numpy()
    check_order(subset, class_histogram(labels, data.classes), values)
    if subset.architecture_fraction is not None:
        check_selection(labels, subset, data.classes)


def expected_parts(
    config: PipelineConfig, data: ImageDataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return lists of the size of the subset's, as `select_parts` does, before it is made.

    They are as large for every measure; an imported subset is read.
    """
    from subsample.selection import select_parts

    if config.subset.indices is not None:
        return _read_subset(config.subset.indices, data)
    by_chance = config.subset.model_copy(update={"measure": "random", "order": "deterministic"})
    return select_parts(data.train.labels.numpy(), by_chance, None, config.seed)


def num_kept(config: PipelineConfig, data: ImageDataset) -> int:
    """Return the size of the subset, without the images for α and β only."""
    return len(expected_parts(config, data)[0])


def _read_subset(path: Path, data: ImageDataset) -> tuple[np.ndarray, np.ndarray | None]:
    from subsample.imported import read_subset

    return read_subset(path, data)


def _read_values(settings: SubsetSettings, data: ImageDataset) -> np.ndarray:
    from subsample.imported import read_values

    assert isinstance(settings, RankedSubset)
    _check_unchanged(settings, SCORES)
    return read_values(settings.file, data)


def _digest(path: Path, key: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{key}: no file {path}; allowed: a file")
    return file_digest(path)


def _check_unchanged(settings: RankedSubset | ImportedSubset, key: str) -> None:
    if _digest(settings.file, key) != settings.digest:
        raise ConfigError(f"{key}: {settings.file} has changed since the run began")


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
    """Return the fingerprint of the scorer of the scores, None if there is none."""
    measured = context.inputs.get("scores") or context.inputs.get("baseline")
    scorer = None if measured is None else measured.manifest["inputs"].get("scorer")
    return None if scorer is None else scorer["fingerprint"]


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    if config.subset.needs_baseline:
        return ("data", "baseline")
    return ("data", "scores") if config.subset.needs_scores else ("data",)


STAGE = Stage("subset", 1, _needs, settings, check, run)
