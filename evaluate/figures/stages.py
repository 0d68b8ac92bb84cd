"""The pipeline's stage graph as a figure."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import networkx as nx
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from evaluate.figures.style import STYLE, WIDTH

_STATE_COLOURS = {
    "done": "#cfe8dc",
    "reused": "#d6e6f2",
    "running": "#fdebc8",
    "interrupted": "#fbe0c8",
    "failed": "#f6cfc0",
    "pending": "#f2f2f2",
}
_OTHER_COLOUR = "#eef3f7"
_ARROW: Any = {"arrowstyle": "-|>", "mutation_scale": 11, "color": "#5f6b75", "linewidth": 1.3}
_BOX: Any = {
    "boxstyle": "round,pad=0,rounding_size=0.08",
    "edgecolor": "#40505c",
    "linewidth": 1.2,
}
# In units of one column, which holds one stage.
_BOX_WIDTH = 0.76
_NAME_HEIGHT, _LINE_HEIGHT = 0.4, 0.13
_LANE_HEIGHT = 0.17
_LINE_LENGTH = 13  # characters per line of a state
_MIN_COLUMNS = 5  # so that a small graph is not enlarged

_Lane = tuple[str, int]  # the stage shared by its arrows; +1 above the row, -1 below
_Edge = tuple[str, str]


@rc_context(STYLE)
def stage_graph(graph: "nx.DiGraph[str]", states: Mapping[str, str] | None = None) -> Figure:
    """Draw the stages from left to right in topological order, with an arrow to each dependent.

    `states` are the texts in the boxes; the first word ("done", "reused", "interrupted", "pending",
    …) selects the colour. Arrows between neighbours are straight. Arrows that skip a stage use a
    lane outside the row, so none crosses a box: those above share their source, those below their
    target.
    """
    rank = {stage: index for index, stage in enumerate(graph)}
    order = list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    column = {stage: index for index, stage in enumerate(order)}
    lane_of = _assign_lanes(graph, column)
    depths = _lane_depths(lane_of, column)
    texts = {stage: fill(state, _LINE_LENGTH) for stage, state in (states or {}).items()}
    lines = max((text.count("\n") + 1 for text in texts.values() if text), default=0)
    half = (_NAME_HEIGHT + _LINE_HEIGHT * lines) / 2  # of a box's height
    above, below = (
        max((depth for (_, side), depth in depths.items() if side == wanted), default=0)
        for wanted in (1, -1)
    )
    top = half + _LANE_HEIGHT * (above + 1)
    bottom = -half - _LANE_HEIGHT * (below + 1)
    columns = max(len(order), _MIN_COLUMNS)
    figure = Figure(figsize=(WIDTH, WIDTH * (top - bottom) / columns))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(bottom, top))
    for edge in graph.edges:
        lane = lane_of.get(edge)
        depth = depths[lane] if lane else 0
        route = _route(column[edge[0]], column[edge[1]], lane[1] * depth if lane else 0, half)
        arrow = FancyArrowPatch(path=Path(route), gid=f"{edge[0]}→{edge[1]}", **_ARROW)
        axes.add_patch(arrow)
    for stage in order:
        x, text = column[stage], texts.get(stage, "")
        state = text.split()[0] if text else ""
        colour = _STATE_COLOURS.get(state, _OTHER_COLOUR)
        corner = (x - _BOX_WIDTH / 2, -half)
        box = FancyBboxPatch(corner, _BOX_WIDTH, 2 * half, facecolor=colour, gid=stage, **_BOX)
        axes.add_patch(box)
        y = half - _NAME_HEIGHT / 2
        axes.text(x, y, stage, ha="center", va="center", fontsize=11, weight="bold")
        axes.text(x, y - 0.13, text, ha="center", va="top", fontsize=8)
    return figure


def _assign_lanes(graph: "nx.DiGraph[str]", column: Mapping[str, int]) -> dict[_Edge, _Lane]:
    """Assign each arrow that skips a stage to the lane of its end with more such arrows."""
    skipping = [(a, b) for a, b in graph.edges if column[b] - column[a] > 1]
    leaving = {a: sum(source == a for source, _ in skipping) for a in graph}
    arriving = {b: sum(target == b for _, target in skipping) for b in graph}
    return {(a, b): (a, 1) if leaving[a] >= arriving[b] else (b, -1) for a, b in skipping}


def _lane_depths(lane_of: Mapping[_Edge, _Lane], column: Mapping[str, int]) -> dict[_Lane, int]:
    """Return the distance of each lane from the row, 1 the nearest; shorter lanes are nearer."""
    length: dict[_Lane, int] = {}
    for (a, b), lane in lane_of.items():
        length[lane] = max(length.get(lane, 0), column[b] - column[a])
    depths: dict[_Lane, int] = {}
    for lane in sorted(length, key=lambda lane: (length[lane], column[lane[0]])):
        depths[lane] = 1 + sum(side == lane[1] for _, side in depths)
    return depths


def _route(source: int, target: int, depth: int, half: float) -> list[tuple[float, float]]:
    """Return the corners of the arrow between two columns, `depth` lanes above (+) or below (-).

    `half` is half the height of a box, whose middle is at 0.
    """
    if depth == 0:
        return [(source + _BOX_WIDTH / 2, 0.0), (target - _BOX_WIDTH / 2, 0.0)]
    side = 1 if depth > 0 else -1
    edge_of_row = side * half
    lane = edge_of_row + _LANE_HEIGHT * depth
    # Lanes leave right of a box's middle and arrive left of it, each at a different x, so that
    # the vertical parts of two lanes never overlap.
    shift = _BOX_WIDTH / 2 * (0.2 + 0.6 / (1 + abs(depth)))
    leave, arrive = source + shift, target - shift
    return [(leave, edge_of_row), (leave, lane), (arrive, lane), (arrive, edge_of_row)]
