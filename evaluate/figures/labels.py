"""Placement of labels in a figure, with as little overlap with the data as possible."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from numpy.typing import NDArray

from evaluate.figures.style import TEXT

Point = tuple[float, float]
Boxes = NDArray[np.floating]
"""Pixels [B, 4]: left, bottom, right, top."""

_DOT = 3  # pixels at 100 dpi, width of the boxes that cover a line
_END = 7  # pixels at 100 dpi, width of the boxes at a line's points, which have markers or caps
_LEAVING = 5  # weight of area outside the axes against covered area
_SIDES: tuple[tuple[float, float, Literal["left", "center", "right"]], ...] = (
    (5, 0, "left"),
    (4, -6, "left"),
    (4, 6, "left"),
    (-4, 6, "right"),
    (-4, -6, "right"),
    (0, 9, "center"),
    (0, -9, "center"),
)
"""Offsets of a label from its point, in points, with the alignment; best first."""
_PLACES = [(x * reach, y * reach, side) for reach in (1, 1.7, 2.6) for x, y, side in _SIDES]


def printable(name: str) -> str:
    """A folder's name, and so a class's, need not be UTF-8, which matplotlib's text has to be."""
    return name.encode("utf-8", "backslashreplace").decode()


def label_points(
    figure: Figure,
    axes: Axes,
    texts: Sequence[tuple[str, Point]],
    lines: Sequence[Sequence[Point]],
) -> None:
    """Write each text next to its point, where it overlaps least with `lines`, the polylines drawn
    in `axes`, and with earlier texts. Points are in data coordinates.

    Call it last: it fixes the figure's layout.
    """
    labels = [
        axes.annotate(
            *(text, point), xytext=(0, 0), textcoords="offset points", va="center",
            color=TEXT,
        )
        for text, point in texts
    ]  # fmt: skip
    for label in labels:
        label.set_in_layout(False)  # or the layout would make room for the first position
    figure.draw_without_rendering()
    taken = np.concatenate([_cover(axes, line) for line in lines])
    frame = np.array([axes.get_window_extent().extents])
    for label in labels:
        taken = np.vstack([taken, _place(label, taken, frame)])


def _cover(axes: Axes, line: Sequence[Point]) -> Boxes:
    ends = axes.transData.transform(line)
    dots = [
        np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / _DOT))
        for start, end in pairwise(ends)
    ]
    centres = np.concatenate([ends, *dots])
    reach = np.full((len(centres), 1), _DOT / 2)
    reach[: len(ends)] = _END / 2
    return np.hstack([centres - reach, centres + reach])


def _place(label: Annotation, taken: Boxes, frame: Boxes) -> Boxes:
    """Move `label` to the first place with the least overlap; return its box there, [1, 4]."""
    options = []
    for place in _PLACES:
        box = _move(label, place)
        outside = np.prod(box[0, 2:] - box[0, :2]) - _covered(box, frame)
        cost = round(_covered(box, taken) + _LEAVING * outside)
        if not cost:
            return box
        options.append((cost, place))
    return _move(label, min(options, key=lambda option: option[0])[1])


def _move(
    label: Annotation, place: tuple[float, float, Literal["left", "center", "right"]]
) -> Boxes:
    x, y, side = place
    label.set_position((x, y))
    label.set_horizontalalignment(side)
    return np.array([label.get_window_extent().extents])


def _covered(box: Boxes, others: Boxes) -> float:
    """Return the summed overlap of `box` [1, 4] with each of the others, pixels²."""
    sides = np.minimum(box[:, 2:], others[:, 2:]) - np.maximum(box[:, :2], others[:, :2])
    return float(sides.clip(0).prod(1).sum())
