"""Random networks in place of one that is not found yet: a medium, a light and a heavy one."""

from collections.abc import Iterator, Mapping

from classification.seeding import make_generator
from evaluate.width import LIGHTEST, NarrowestExceedsBudgetError
from pcdarts.genotype import Genotype, random_genotype
from pipeline.estimates.bench import Bench
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE
from pipeline.store.store import Artifact

_NETWORKS = 101  # drawn at random, of which three are taken
_LAYERS = {
    "max_pool_3x3": 1,
    "avg_pool_3x3": 1,
    "skip_connect": 0,
    "sep_conv_3x3": 4,
    "sep_conv_5x5": 4,
    "dil_conv_3x3": 2,
    "dil_conv_5x5": 2,
}


def stand_ins(bench: Bench) -> Iterator[tuple[Mapping[str, Artifact], float]]:
    """Yield what a retraining needs, for each of the networks: the artifacts of the stages that
    find a genotype and its width, and the seconds of choosing the width.

    They are made when they are first asked for, and kept in `bench.networks`. A network that
    exceeds the budget at every width is left out, as no search may end with it; if all do, the
    lightest genotype replaces them.
    """
    fits = False
    for number, genotype in enumerate(draw_medium_light_heavy(bench.config.seed)):
        if number not in bench.networks:
            try:
                bench.networks[number] = _inputs(bench, genotype, number)
            except NarrowestExceedsBudgetError:
                bench.networks[number] = None
        made = bench.networks[number]
        if made is not None:
            fits = True
            yield made
    if not fits:
        yield _inputs(bench, LIGHTEST, len(bench.networks))


def draw_medium_light_heavy(seed: int) -> list[Genotype]:
    """Return a medium, a light and a heavy one of many random networks."""
    generator = make_generator(seed, "estimate-networks")
    return medium_light_heavy([random_genotype(generator) for _ in range(_NETWORKS)])


def medium_light_heavy(networks: list[Genotype]) -> list[Genotype]:
    """Return the median, 10th and 90th percentile of `networks` by number of layers."""
    ranked = sorted(networks, key=layers)
    return [ranked[round(share * (len(ranked) - 1))] for share in (0.5, 0.1, 0.9)]


def layers(genotype: Genotype) -> int:
    """Count the convolutions and poolings of a network of eight cells, two of them reductions."""
    return sum(
        times * _LAYERS[edge.operation]
        for cell, times in ((genotype.normal, 6), (genotype.reduce, 2))
        for node in cell
        for edge in node
    )


def _inputs(bench: Bench, genotype: Genotype, number: int) -> tuple[Mapping[str, Artifact], float]:
    source = genotype_stage(bench.config)
    made = {source: bench.stand_in(source, f"network-{number}")}
    genotype.save(made[source].path / GENOTYPE)
    if bench.config.budget is None:
        return made, 0.0
    known, bench.artifacts = bench.artifacts, {**bench.artifacts, **made}
    try:
        seconds = bench.run("width", bench.data, f"width-{number}")
        return {**made, "width": bench.artifacts["width"]}, seconds
    finally:
        bench.artifacts = known
