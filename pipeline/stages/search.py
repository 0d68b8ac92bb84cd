"""Search: PC-DARTS on the subset, once or, for a contest, several times with other seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from classification.acceleration import check_acceleration
from classification.compilation import check_compilation
from classification.config import SUPERNET
from classification.data.config import AugmentationSettings
from classification.errors import ConfigError
from classification.seeds import derive_seed
from evaluate.contest_config import MAX_RESTARTS
from pcdarts.search_config import SearchConfig, check_search
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.scorer import WARM_START
from pipeline.stages.subset import SUBSET, expected_parts

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

GENOTYPE = "genotype.json"
SEARCHES = ("search", *(f"search-{number}" for number in range(2, MAX_RESTARTS + 1)))
"""The first search and its restarts, which share the subset."""


class SearchSettings(StageSettings):
    """The search and the augmentation."""

    search: SearchConfig
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[SearchSettings]) -> None:
    """Data, subset → genotype.json, metrics.jsonl (α, β and genotype of every epoch), and with
    pruning pruning.json (the images that each round kept).

    If the scorer is the supernet, the search continues after its warm-up.
    """
    import torch  # slow to import, with what follows

    from classification.data.augmentation import ColourJitter
    from classification.persistence.checkpoint import load_checkpoint
    from classification.persistence.workspace import read_metrics
    from pcdarts.search import halves, search
    from subsample.selection import Subset

    settings, data = context.settings, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    train = data.with_jitter(ColourJitter(settings.search.colour_jitter)).train
    first = torch.tensor(subset.indices)
    if subset.architecture_indices is None:
        indices = [first[half] for half in halves(train.labels.cpu()[first], settings.seed)]
    else:
        indices = [first, torch.tensor(subset.architecture_indices)]
    weights, architecture = (train.take(part) for part in indices)
    warm = "scorer" in context.inputs
    genotype = search(
        (weights, architecture),
        data.num_classes,
        data.augmentation(),
        settings.search,
        settings.seed,
        context.workspace,
        context.device,
        load_checkpoint(context.input("scorer", WARM_START)) if warm else None,
        indices,
    )
    for warning in read_metrics(context.workspace.directory)[-1]["warnings"]:
        context.log(f"warning: {warning}")
    genotype.save(context.workspace.path(GENOTYPE))


def settings(config: PipelineConfig, number: int = 1) -> SearchSettings:
    """Return the settings of the search with this number. The first has the run's seed."""
    seed = config.seed if number == 1 else derive_seed(config.seed, "restart", number)
    return SearchSettings(search=config.search, augmentation=config.data.augmentation, seed=seed)


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a subset too small for the search, and images too small for the supernet."""
    import torch

    from subsample.selection import check_selection

    search, data = config.search, datasets["data"]
    check_acceleration("search", search.precision, search.cuda_graph, device)
    check_compilation("search", search.compile, device)
    if search.pruning is not None and config.scorer.model == SUPERNET:
        first = min([*search.pruning.observed_epochs, *search.pruning.round_epochs])
        if first <= search.warmup_epochs:
            raise ConfigError(
                f"search.pruning.after_epochs: epoch {first} is observed or pruned, but with "
                f"scorer.model supernet the search begins after epoch {search.warmup_epochs}; "
                "allowed: later epochs"
            )
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


def searches_of(config: PipelineConfig) -> tuple[str, ...]:
    """Return the stages that search in a run of this config."""
    return SEARCHES[: 1 if config.contest is None else config.contest.restarts]


def stages_of_search(config: PipelineConfig) -> tuple[str, ...]:
    """Return the stages whose cost is that of the search and its restarts.

    With the supernet as scorer these include its warm-up: it is the first part of the search, so a
    search on all images pays for it too.
    """
    warm_up = ("scorer",) if config.scorer.model == SUPERNET else ()
    return (*warm_up, *searches_of(config))


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    own = ("scorer",) if config.scorer.model == SUPERNET else ()
    return ("data", "subset", *own)


STAGES = tuple(
    Stage(
        name,
        3,
        _needs,
        partial(settings, number=number),
        check,
        run,
        parallel=True,
        section=lambda config: "search",
    )
    for number, name in enumerate(SEARCHES, 1)
)
