import random
from itertools import combinations

import pytest
from matplotlib import _pylab_helpers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pcdarts.drawing import cells_in_words, describe_genotype, draw_genotype
from pcdarts.genotype import EDGES_PER_NODE, Edge, Genotype, Node
from pcdarts.operations import CANDIDATES
from pcdarts.published_genotypes import GENOTYPES


def _random_cell(generator: random.Random) -> tuple[Node, ...]:
    nodes = []
    for sources in EDGES_PER_NODE:
        first, second = (
            Edge(generator.choice(CANDIDATES), source)
            for source in generator.sample(range(sources), 2)
        )
        nodes.append((first, second))
    return tuple(nodes)


def _random_genotype(seed: int) -> Genotype:
    generator = random.Random(seed)
    return Genotype(_random_cell(generator), _random_cell(generator))


def _texts(figure: Figure) -> list[list[str]]:
    """Return the texts of each cell, with operations on one line as in `CANDIDATES`."""
    return [[text.get_text().replace("\n", "_") for text in axes.texts] for axes in figure.axes]


@pytest.mark.parametrize("genotype", [GENOTYPES["darts_v1"], _random_genotype(0)])
def test_no_label_covers_another(genotype: Genotype) -> None:
    figure = draw_genotype(genotype)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        boxes = [text.get_bbox_patch() or text for text in axes.texts]
        extents = [box.get_window_extent(renderer) for box in boxes]
        assert not any(first.overlaps(second) for first, second in combinations(extents, 2))
        assert all(figure.bbox.containsx(extent.x0) for extent in extents)
        assert all(figure.bbox.containsx(extent.x1) for extent in extents)


def test_a_label_an_edge() -> None:
    genotype = GENOTYPES["pcdarts_imagenet"]
    figure = draw_genotype(genotype)
    for texts, nodes in zip(_texts(figure), (genotype.normal, genotype.reduce), strict=True):
        operations = sorted(text for text in texts if text in CANDIDATES)
        assert operations == sorted(edge.operation for node in nodes for edge in node)


def test_both_edges_of_a_node_may_come_from_one_source() -> None:
    twice = (Edge("skip_connect", 0), Edge("max_pool_3x3", 0))
    figure = draw_genotype(Genotype((twice,) * 4, (twice,) * 4))
    assert [texts.count("skip_connect") for texts in _texts(figure)] == [4, 4]


def test_drawing_leaves_no_figure_in_pyplot() -> None:
    draw_genotype(GENOTYPES["darts_v2"])
    assert not _pylab_helpers.Gcf.figs


def test_cells_are_also_told_in_words() -> None:
    nodes = tuple((Edge("skip_connect", node), Edge("sep_conv_3x3", node + 1)) for node in range(4))
    genotype = Genotype(nodes, nodes)
    normal = cells_in_words(genotype)["Normal cell"]
    assert normal[0] == ("node 0", "skip_connect of cₖ₋₂ + sep_conv_3x3 of cₖ₋₁")
    assert normal[3] == ("node 3", "skip_connect of node 1 + sep_conv_3x3 of node 2")
    assert describe_genotype(genotype).startswith("Normal cell. node 0: skip_connect of cₖ₋₂ +")
