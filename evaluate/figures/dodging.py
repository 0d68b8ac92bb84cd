"""Error bars at the same x, moved apart so that each can be seen."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

_STEP = 0.055  # inches between two bars
_BAR = 0.015  # inches: bars closer than this hide each other
_MOST = 0.6  # of the distance to the next x, for all bars of one x together


def dodge(axes: Axes, x: Sequence[float], range_x: Sequence[float]) -> NDArray[np.floating]:
    """Return the x at which to draw bars, in the given order: those at the same x are spread evenly
    around it, and all others are returned as they are.

    `range_x` holds all values that the axis will show; it must have its scale, linear or
    logarithmic. Where all are the same, the axis is limited here to a range around them.
    """
    scale = axes.xaxis.get_transform()
    places, ends = (
        scale.transform(np.asarray(x, float)),
        scale.transform(np.asarray(range_x, float)),
    )
    drawn = np.asarray(x, float).copy()
    low, high = float(ends.min()), float(ends.max())
    if low == high:
        if len(x) < 2:
            return drawn
        half = abs(low) / 2 or 0.5
        low, high = low - half, high + half
        axes.set_xlim(*scale.inverted().transform(np.array([low, high])))
    width = axes.get_window_extent().width / axes.figure.dpi  # inches
    inch = (high - low) / width  # in units of the scaled axis
    order = np.argsort(places, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(places[order]) > _BAR * inch) + 1)
    centres = [float(places[group].mean()) for group in groups]
    nearest = min(np.diff(centres), default=high - low)
    for centre, group in zip(centres, groups, strict=True):
        if len(group) > 1:
            step = min(_STEP * inch, _MOST * nearest / len(group))
            offsets = step * (np.arange(len(group)) - (len(group) - 1) / 2)
            drawn[np.sort(group)] = scale.inverted().transform(centre + offsets)
    return drawn
