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
_ARROW: Any = {"arrowstyle": "-|>", "mutation_scale": 6, "color": "#5f6b75", "linewidth": 0.8}
_BOX: Any = {
    "boxstyle": "round,pad=0,rounding_size=0.05",
    "edgecolor": "#40505c",
    "linewidth": 0.7,
}
# In inches, which are also the units of the axes.
_NAME_HEIGHT, _LINE_HEIGHT = 0.26, 0.14
_GAP = 0.16  # between boxes
_LANE_WIDTH = 0.14
_MOST_WIDE = 2.2  # a box
_LINE_LENGTH = 32  # characters per line of a state

_Lane = tuple[str, int]  # the stage shared by its arrows; +1 right of the boxes, -1 left
_Edge = tuple[str, str]


@rc_context(STYLE)
def stage_graph(graph: "nx.DiGraph[str]", states: Mapping[str, str] | None = None) -> Figure:
    """Draw the stages from top to bottom in topological order, with an arrow to each dependent.

    `states` are the texts in the boxes; the first word ("done", "reused", "interrupted", "pending",
    …) selects the colour. Arrows between neighbours are straight. Arrows that skip a stage use a
    lane beside the boxes, so none crosses a box: those on the right share their source, those on
    the left their target.
    """
    rank = {stage: index for index, stage in enumerate(graph)}
    order = list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    row = {stage: index for index, stage in enumerate(order)}
    lane_of = _assign_lanes(graph, row)
    depths = _lane_depths(lane_of, row)
    texts = {stage: fill(state, _LINE_LENGTH) for stage, state in (states or {}).items()}
    lines = max((text.count("\n") + 1 for text in texts.values() if text), default=0)
    height = _NAME_HEIGHT + _LINE_HEIGHT * lines
    pitch = height + _GAP
    right, left = (
        _LANE_WIDTH * (1 + max((d for (_, side), d in depths.items() if side == wanted), default=0))
        for wanted in (1, -1)
    )
    half = min(_MOST_WIDE, WIDTH - left - right) / 2  # of a box's width
    deepest = max(depths.values(), default=0)
    figure = Figure(figsize=(WIDTH, pitch * len(order)))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    middle = (right - left) / 2
    axes.set(xlim=(middle - WIDTH / 2, middle + WIDTH / 2))
    axes.set(ylim=(-pitch * (len(order) - 0.5), pitch / 2))
    for edge in graph.edges:
        lane = lane_of.get(edge)
        depth = lane[1] * depths[lane] if lane else 0
        ends = -pitch * row[edge[0]], -pitch * row[edge[1]]
        route = _route(*ends, depth, (half, height / 2), deepest)
        arrow = FancyArrowPatch(path=Path(route), gid=f"{edge[0]}→{edge[1]}", **_ARROW)
        axes.add_patch(arrow)
    for stage in order:
        y, text = -pitch * row[stage], texts.get(stage, "")
        state = text.split()[0] if text else ""
        colour = _STATE_COLOURS.get(state, _OTHER_COLOUR)
        corner = (-half, y - height / 2)
        box = FancyBboxPatch(corner, 2 * half, height, facecolor=colour, gid=stage, **_BOX)
        axes.add_patch(box)
        top = y + height / 2 - _NAME_HEIGHT / 2 if text else y
        axes.text(0, top, stage, ha="center", va="center", weight="bold")
        axes.text(0, top - 0.09, text, ha="center", va="top", linespacing=1.1)
    return figure


def _assign_lanes(graph: "nx.DiGraph[str]", row: Mapping[str, int]) -> dict[_Edge, _Lane]:
    """Assign each arrow that skips a stage to the lane of its end with more such arrows."""
    skipping = [(a, b) for a, b in graph.edges if row[b] - row[a] > 1]
    leaving = {a: sum(source == a for source, _ in skipping) for a in graph}
    arriving = {b: sum(target == b for _, target in skipping) for b in graph}
    return {(a, b): (a, 1) if leaving[a] >= arriving[b] else (b, -1) for a, b in skipping}


def _lane_depths(lane_of: Mapping[_Edge, _Lane], row: Mapping[str, int]) -> dict[_Lane, int]:
    """Return the distance of each lane from the boxes, 1 the nearest; shorter lanes are nearer."""
    length: dict[_Lane, int] = {}
    for (a, b), lane in lane_of.items():
        length[lane] = max(length.get(lane, 0), row[b] - row[a])
    depths: dict[_Lane, int] = {}
    for lane in sorted(length, key=lambda lane: (length[lane], row[lane[0]])):
        depths[lane] = 1 + sum(side == lane[1] for _, side in depths)
    return depths


def _route(
    source: float, target: float, depth: int, half: tuple[float, float], deepest: int
) -> list[tuple[float, float]]:
    """Return the corners of the arrow between boxes at two heights, in the lane `depth` steps to
    their right (+) or left (-), or straight (0).

    `half` is half the width and half the height of a box, whose middle is at x = 0.
    """
    width, height = half
    if depth == 0:
        return [(0.0, source - height), (0.0, target + height)]
    edge_of_box = width if depth > 0 else -width
    lane = edge_of_box + _LANE_WIDTH * depth
    # Lanes leave below a box's middle and arrive above it, each at a different height, so that
    # the level parts of two lanes never overlap.
    shift = height * (0.9 - 0.75 * abs(depth) / (deepest + 1))
    leave, arrive = source - shift, target + shift
    return [(edge_of_box, leave), (lane, leave), (lane, arrive), (edge_of_box, arrive)]
