from collections import Counter

import pytest
import torch

from pcdarts.genotype import Genotype, random_genotype
from pcdarts.operations import CANDIDATES

DRAWS = 2000


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(0)
    return [random_genotype(generator) for _ in range(DRAWS)]


def test_every_draw_is_a_genotype(drawn):
    for genotype in drawn[:100]:
        assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_the_generator_alone_decides():
    first, again = (random_genotype(torch.Generator().manual_seed(3)) for _ in range(2))
    assert first == again
    assert random_genotype(torch.Generator().manual_seed(4)) != first


@pytest.mark.parametrize(("node", "pairs"), [(0, 1), (1, 3), (2, 6), (3, 10)])
def test_each_pair_of_sources_is_as_likely(drawn, node, pairs):
    """Node 3 chooses among 5 sources: 10 pairs, each 400 times in 4,000 cells, ± 5 deviations."""
    cells = [cell for genotype in drawn for cell in (genotype.normal, genotype.reduce)]
    counts = Counter(tuple(edge.source for edge in cell[node]) for cell in cells)
    assert len(counts) == pairs
    expected = 2 * DRAWS / pairs
    deviation = (expected * (1 - 1 / pairs)) ** 0.5
    assert all(abs(count - expected) <= 5 * deviation for count in counts.values())


def test_each_operation_but_none_is_as_likely(drawn):
    """32,000 edges, 7 operations: 4,571 of each, ± 5 deviations of 63."""
    counts = Counter(
        edge.operation for genotype in drawn for cell in (genotype.normal, genotype.reduce)
        for node in cell for edge in node
    )  # fmt: skip
    assert set(counts) == set(CANDIDATES)
    assert all(abs(count - 4571) <= 313 for count in counts.values())
