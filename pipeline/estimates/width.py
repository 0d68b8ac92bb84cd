"""Expected cost of choosing the width within a budget, and the widths of random networks."""

from statistics import median

from pipeline.estimates.bench import Bench
from pipeline.estimates.expected import Expected
from pipeline.estimates.networks import stand_ins
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.width import chosen_width
from pipeline.store.store import Artifact


def expect_width(bench: Bench, name: str, seconds: float) -> Expected:
    """Choose the width of the genotype, or of up to three random ones before it is found."""
    if genotype_stage(bench.config) in bench.artifacts:
        spent = bench.run(name, bench.data, name)
        return Expected(spent, note=describe_channels([_channels(bench.artifacts[name])]))
    found, channels = [], []
    for made, spent in stand_ins(bench):
        found.append(spent)
        channels.append(_channels(made[name]))
        if sum(found) > seconds:
            break
    note = f"{describe_channels(channels)}, which depends on the network found"
    return Expected(median(found), min(found), max(found), note)


def describe_channels(channels: list[int]) -> str:
    """Return a text such as `16 channels` or `12 to 20 channels`."""
    ends = dict.fromkeys([min(channels), max(channels)])
    return f"{' to '.join(map(str, ends))} channels"


def _channels(width: Artifact) -> int:
    return int(chosen_width(width)["channels"])
