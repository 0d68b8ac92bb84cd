"""Drawing of a genotype's two cells.

Inputs are on the left, then the nodes in their order, and the output on the right. The label of an
edge is just before its target node, where labels cannot overlap.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcdarts.genotype import NUM_INPUTS, SOURCE_NAMES, Genotype, Node

Point = tuple[float, float]

# Inches, which are also the units of the axes, so that fonts and boxes keep their proportion.
_WIDTH = 4.0
_COLUMN, _LAST_COLUMN, _ROW = 0.815, 0.4, 0.45
_LABEL_DISTANCE, _LABEL_RISE = 0.45, 0.16  # of a label's centre from its node's
_LABEL_BOX, _NODE_BOX = (0.29, 0.155), (0.15, 0.15)  # half width, half height
_NODE_SIZE = 330  # square points
_MARGIN, _MARGIN_ABOVE, _TITLE = 0.17, 0.32, 0.2
_FONT_SIZE = 8  # points: at least 6 in a column of 80 mm
_ROWS = (-3, -2, -1, 0, 1, 2, 3)
_INPUT_ROWS = (3, -3)
_SAMPLES = 40  # points per line that are tested for overlap

_INPUTS, _OUTPUT = SOURCE_NAMES[:NUM_INPUTS], "cₖ"
_COLORS = {"input": "#cfe3c8", "node": "#c9dcf0", "output": "#f3e2b3"}
_INK, _FAINT = "#3c4a57", "#b9c2ca"


def draw_genotype(genotype: Genotype) -> Figure:
    """Draw both cells, the normal cell above the reduction cell."""
    height = 2 * (_height() + _TITLE)
    figure = Figure(figsize=(_WIDTH, height))
    for row, (title, nodes) in enumerate(titled_cells(genotype)):
        bottom = (1 - row) * (_height() + _TITLE)
        axes = figure.add_axes((0, bottom / height, 1, _height() / height))
        draw_cell(nodes, title, axes)
    return figure


def cells_in_words(genotype: Genotype) -> dict[str, list[tuple[str, str]]]:
    """Describe each cell's nodes with their two operations."""
    return {
        title: [
            (
                f"node {n}",
                " + ".join(f"{edge.operation} of {SOURCE_NAMES[edge.source]}" for edge in node),
            )
            for n, node in enumerate(nodes)
        ]
        for title, nodes in titled_cells(genotype)
    }


def describe_genotype(genotype: Genotype) -> str:
    """Describe both cells in one paragraph."""
    return " ".join(
        f"{title}. " + " ".join(f"{name}: {edges}." for name, edges in nodes)
        for title, nodes in cells_in_words(genotype).items()
    )


def draw_cell(nodes: Sequence[Node], title: str, axes: Axes) -> None:
    """Draw one cell into `axes`, which need 4 by 2.9 inches at full size."""
    places = _least_cluttered(nodes)
    graph: nx.DiGraph[str] = nx.DiGraph()
    labels: dict[str, str] = {}
    for key, start, label, end in cell_lines(nodes):
        if label:
            graph.add_edge(start, key)
            graph.add_edge(key, end)
            labels[key] = label
        else:
            graph.add_edge(start, end)
    for lines, color, arrows in (
        ([edge for edge in graph.edges if edge[1] in labels], _INK, "-"),
        ([edge for edge in graph.edges if edge[0] in labels], _INK, "-|>"),
        ([edge for edge in graph.edges if edge[1] == _OUTPUT], _FAINT, "-|>"),
    ):
        nx.draw_networkx_edges(
            graph,
            places,
            lines,
            nodelist=list(graph),
            node_size=[0 if name in labels else _NODE_SIZE for name in graph],
            edge_color=color,
            arrowstyle=arrows,
            arrows=True,
            arrowsize=6,
            width=0.8,
            ax=axes,
        )
    states = [name for name in graph if name not in labels]
    nx.draw_networkx_nodes(
        graph,
        places,
        states,
        ax=axes,
        node_size=_NODE_SIZE,
        edgecolors=_INK,
        linewidths=0.7,
        node_color=[_COLORS[_role(name)] for name in states],
    )
    nx.draw_networkx_labels(graph, places, {name: name for name in states}, _FONT_SIZE, ax=axes)
    box = {
        "boxstyle": "round,pad=0.12",
        "facecolor": "white",
        "edgecolor": _FAINT,
        "linewidth": 0.6,
    }
    broken = {key: "\n".join(label.rsplit("_", 1)) for key, label in labels.items()}
    nx.draw_networkx_labels(graph, places, broken, _FONT_SIZE, _INK, bbox=box, ax=axes)
    axes.set_title(title, fontsize=9, fontweight="bold", loc="left", x=_MARGIN / _WIDTH, pad=2)
    axes.set_xlim(-_MARGIN, _WIDTH - _MARGIN)
    axes.set_ylim(-_height() / 2, _height() / 2)
    axes.set_axis_off()


def titled_cells(genotype: Genotype) -> list[tuple[str, Sequence[Node]]]:
    """Return the nodes of both cells by their title."""
    return [("Normal cell", genotype.normal), ("Reduction cell", genotype.reduce)]


def cell_lines(nodes: Sequence[Node]) -> list[tuple[str, str, str, str]]:
    """Return (key, start, operation, end) of every line of a cell's graph, whose states are the two
    inputs, the nodes and the output; lines to the output have no operation."""
    names = [*_INPUTS, *map(str, range(len(nodes)))]
    lines = [
        (f"{index}/{place}", names[edge.source], edge.operation, str(index))
        for index, node in enumerate(nodes)
        for place, edge in enumerate(node)
    ]
    return lines + [("", name, "", _OUTPUT) for name in names[NUM_INPUTS:]]


def _height() -> float:
    return (_ROWS[-1] - _ROWS[0]) * _ROW + 2 * _MARGIN_ABOVE


def _role(name: str) -> str:
    return "input" if name in _INPUTS else "output" if name == _OUTPUT else "node"


def _least_cluttered(nodes: Sequence[Node]) -> Mapping[str, Point]:
    """Return the centres of states and labels in inches, y upwards, for the rows with the least
    overlap of lines with other nodes or labels."""
    edges = cell_lines(nodes)
    candidates = (_places(nodes, rows) for rows in permutations(_ROWS, len(nodes)))
    return min(candidates, key=lambda places: _clutter(places, edges))


def _places(nodes: Sequence[Node], rows: Sequence[float]) -> dict[str, Point]:
    """Return the centres of inputs, nodes, output and labels."""
    names = [*_INPUTS, *map(str, range(len(nodes)))]
    heights = [*_INPUT_ROWS, *rows]
    places = {_OUTPUT: (len(nodes) * _COLUMN + _LAST_COLUMN, 0.0)}
    for number, (name, row) in enumerate(zip(names, heights, strict=True)):
        places[name] = (max(0, number - 1) * _COLUMN, row * _ROW)
    for index, node in enumerate(nodes):
        x, y = places[str(index)]
        # The edge with the higher source gets the upper label, so that the two do not cross.
        upper = heights[node[0].source] >= heights[node[1].source]
        for place in range(len(node)):
            rise = _LABEL_RISE if (place == 0) == upper else -_LABEL_RISE
            places[f"{index}/{place}"] = (x - _LABEL_DISTANCE, y + rise)
    return places


def _clutter(
    places: dict[str, Point], edges: Sequence[tuple[str, str, str, str]]
) -> tuple[int, float]:
    """Return the hidden length of the lines, then their total rise."""
    names = list(places)
    centres = np.array([places[name] for name in names])
    boxes = np.array([_LABEL_BOX if "/" in name else _NODE_BOX for name in names])
    starts = np.array([places[start] for _, start, _, _ in edges])
    stops = np.array([places[key if label else end] for key, _, label, end in edges])
    others = np.array(
        [[name not in (edge[0], edge[1], edge[3]) for name in names] for edge in edges]
    )
    share = np.linspace(0, 1, _SAMPLES)[:, None]
    lines = starts[:, None] * (1 - share) + stops[:, None] * share  # [lines, samples, 2]
    inside = (np.abs(lines[:, :, None] - centres) < boxes).all(3)  # [lines, samples, boxes]
    return int((inside & others[:, None]).sum()), float(np.abs(starts - stops)[:, 1].sum())
