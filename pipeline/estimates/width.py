"""Expected cost of choosing the width within a budget, and the widths of random networks."""

from statistics import median

from pipeline.estimates.bench import Bench
from pipeline.estimates.expected import Expected
from pipeline.estimates.training import draw_medium_light_heavy
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE
from pipeline.stages.width import chosen_width


def expect_width(bench: Bench, name: str, seconds: float) -> Expected:
    """Choose the width of the genotype, or of up to three random ones before it is found."""
    source = genotype_stage(bench.config)
    if source in bench.artifacts:
        spent = bench.run(name, bench.data, name)
        return Expected(spent, note=describe_channels([_channels(bench)]))
    found, channels = [], []
    for number, genotype in enumerate(draw_medium_light_heavy(bench.config.seed)):
        bench.artifacts[source] = bench.stand_in(source, f"{name}-of-{number}")
        genotype.save(bench.artifacts[source].path / GENOTYPE)
        found.append(bench.run(name, bench.data, f"{name}-first-{number}"))
        channels.append(_channels(bench))
        if sum(found) > seconds:
            break
    del bench.artifacts[source], bench.artifacts[name]  # unknown to the later stages
    note = f"{describe_channels(channels)}, which depends on the network found"
    return Expected(median(found), min(found), max(found), note)


def describe_channels(channels: list[int]) -> str:
    """Return a text such as `16 channels` or `12 to 20 channels`."""
    ends = dict.fromkeys([min(channels), max(channels)])
    return f"{' to '.join(map(str, ends))} channels"


def _channels(bench: Bench) -> int:
    return int(chosen_width(bench.artifacts["width"])["channels"])
