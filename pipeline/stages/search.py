"""Search: PC-DARTS on the subset."""

import torch

from classification.config import SUPERNET
from classification.persistence.checkpoint import load_checkpoint
from classification.persistence.workspace import read_metrics
from pcdarts.genotype import Genotype
from pcdarts.search import halve, search, search_warnings
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import WARM_START
from pipeline.stages.subset import SUBSET
from subsample.selection import Subset

GENOTYPE = "genotype.json"


def run(context: Context) -> None:
    """Data, subset → genotype.json, metrics.jsonl (α, β and genotype of every epoch).

    A scorer that is the supernet has the warm-up behind it: the search goes on from there.
    """
    config = context.config
    data = context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    images = data.train.take(torch.tensor(subset.indices))
    if subset.architecture_indices is None:
        parts = halve(images, config.seed)
    else:
        parts = images, data.train.take(torch.tensor(subset.architecture_indices))
    warm = config.scorer.model == SUPERNET
    genotype: Genotype = search(
        parts,
        data.num_classes,
        data.augmentation(),
        config.search,
        config.seed,
        context.workspace,
        context.device,
        load_checkpoint(context.input("scorer", WARM_START)) if warm else None,
    )
    for warning in search_warnings(read_metrics(context.workspace.directory), data.num_classes):
        context.log(f"warning: {warning}")
    genotype.save(context.workspace.path(GENOTYPE))


def _needs(config: PipelineConfig) -> tuple[str, ...]:
    own = ("scorer",) if config.scorer.model == SUPERNET else ()
    return ("data", "subset", *own)


STAGE = Stage(
    "search",
    2,
    _needs,
    lambda config: {
        "search": config.search.identity(),
        "seed": config.seed,
        **config.data.augmentation_settings(),
    },
    run,
    parallel=True,
)
