"""Search: PC-DARTS on the subset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.config import SUPERNET
from classification.data.config import AugmentationSettings
from pcdarts.search_config import SearchConfig, check_search
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.scorer import WARM_START
from pipeline.stages.subset import SUBSET, expected_parts

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

GENOTYPE = "genotype.json"


class SearchSettings(StageSettings):
    """The search and the augmentation."""

    search: SearchConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[SearchSettings]) -> None:
    """Data, subset → genotype.json, metrics.jsonl (α, β and genotype of every epoch).

    If the scorer is the supernet, the search continues after its warm-up.
    """
    import torch  # slow to import, with what follows

    from classification.data.augmentation import ColourJitter
    from classification.persistence.checkpoint import load_checkpoint
    from classification.persistence.workspace import read_metrics
    from pcdarts.search import halve, search
    from subsample.selection import Subset

    settings, data = context.settings, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    train = data.with_jitter(ColourJitter(settings.search.colour_jitter)).train
    images = train.take(torch.tensor(subset.indices))
    if subset.architecture_indices is None:
        parts = halve(images, settings.seed)
    else:
        parts = images, train.take(torch.tensor(subset.architecture_indices))
    warm = "scorer" in context.inputs
    genotype = search(
        parts,
        data.num_classes,
        data.augmentation(),
        settings.search,
        settings.seed,
        context.workspace,
        context.device,
        load_checkpoint(context.input("scorer", WARM_START)) if warm else None,
    )
    for warning in read_metrics(context.workspace.directory)[-1]["warnings"]:
        context.log(f"warning: {warning}")
    genotype.save(context.workspace.path(GENOTYPE))


def settings(config: PipelineConfig) -> SearchSettings:
    """Return the settings of the stage."""
    return SearchSettings(
        search=config.search, augmentation=config.data.augmentation, seed=config.seed
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a subset too small for the search, and images too small for the supernet."""
    import torch

    from subsample.selection import check_selection

    search, data = config.search, datasets["data"]
    check_acceleration("search", search.precision, search.cuda_graph, device)
    labels = data.train.labels
    if config.subset.indices is None:
        check_selection(labels.numpy(), config.subset, data.classes)
    kept, beside = expected_parts(config, data)
    check_search(
        labels[torch.from_numpy(kept)],
        search,
        data.image_size,
        None if beside is None else labels[torch.from_numpy(beside)],
    )


def stages_of_search(config: PipelineConfig) -> tuple[str, ...]:
    """Return the stages whose cost is that of one search.

    With the supernet as scorer these include its warm-up: it is the first part of the search, so a
    search on all images pays for it too.
    """
    return ("scorer", "search") if config.scorer.model == SUPERNET else ("search",)


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    own = ("scorer",) if config.scorer.model == SUPERNET else ()
    return ("data", "subset", *own)


STAGE = Stage("search", 3, _needs, settings, check, run, parallel=True)
