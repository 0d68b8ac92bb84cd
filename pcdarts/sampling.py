"""Architectures drawn by chance from the search space (Liu et al. 2019, Section 2.1)."""

import torch

from pcdarts.genotype import EDGES_PER_NODE, Edge, Genotype, Node
from pcdarts.operations import CANDIDATES


def random_genotype(generator: torch.Generator) -> Genotype:
    """A genotype, every one of the search space as likely as any other.

    Each node draws two of its sources and, for each of them, one of the operations other than
    none; the lower source stands first. `generator` is on the CPU.
    """
    return Genotype(normal=_draw_cell(generator), reduce=_draw_cell(generator))


def _draw_cell(generator: torch.Generator) -> tuple[Node, ...]:
    return tuple(_draw_node(sources, generator) for sources in EDGES_PER_NODE)


def _draw_node(num_sources: int, generator: torch.Generator) -> Node:
    first, second = sorted(torch.randperm(num_sources, generator=generator)[:2].tolist())
    operations = torch.randint(len(CANDIDATES), (2,), generator=generator).tolist()
    return Edge(CANDIDATES[operations[0]], first), Edge(CANDIDATES[operations[1]], second)
