"""Confusion matrix of a classifier."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from evaluate.figures.labels import printable
from evaluate.figures.style import INK, PALETTE, STYLE, WIDTH

_NUMBERED = 12  # classes up to which each cell has its number
_NAMED = 20  # classes up to which the axes have names
_NAME_LENGTH = 18  # characters
_UPRIGHT = 2  # characters of the longest name that needs no turning
# From transparent, so that the page's own background shows through in light and dark schemes.
_SHADES = LinearSegmentedColormap.from_list(
    "share", [(*to_rgb(PALETTE[0]), 0.0), (*to_rgb(PALETTE[0]), 0.7)]
)


@rc_context(STYLE)
def confusion_matrix(
    counts: NDArray[np.integer], class_names: Sequence[str], title: str = ""
) -> Figure:
    """Draw the share in percent of each class's images (rows) that was taken for each class.

    counts: [C, C], images by true (rows) and predicted class. The shade follows the square root of
    the share, so that rare confusions are visible. A class without images has an empty row.
    """
    images = counts.sum(1, keepdims=True)
    shares = 100 * counts / np.maximum(images, 1)
    numbered = len(counts) <= _NUMBERED
    figure = Figure(figsize=(WIDTH, WIDTH if numbered else 1.15 * WIDTH), layout="constrained")
    axes = figure.subplots()
    norm = PowerNorm(0.5, 0, 100)
    shown = axes.imshow(shares, _SHADES, norm, interpolation="nearest", aspect="equal")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(title, loc="left")
    axes.grid(visible=False)
    if numbered:
        for row, column in np.argwhere(counts):
            text = f"{shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=INK)
    if len(counts) <= _NAMED:
        names = [_shorten(name) for name in class_names]
        turned = 90 if max(map(len, names)) > _UPRIGHT else 0
        axes.set_xticks(range(len(names)), names, rotation=turned)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="predicted class, by index", ylabel="true class, by index")
    if numbered:
        axes.set_xlabel("predicted class\n(numbers: % of the true class's images)")
        return figure
    bar = figure.colorbar(
        shown, ax=axes, label="share of the class's images (%)", location="bottom", shrink=0.8
    )
    bar.set_ticks([0, 1, 5, 10, 25, 50, 100])
    bar.ax.xaxis.set_minor_locator(NullLocator())
    assert bar.solids is not None  # drawn with the bar
    bar.solids.set_rasterized(True)  # one image, not a path for each shade
    return figure


def _shorten(name: str) -> str:
    plain = printable(name).replace("_", " ")
    return plain if len(plain) <= _NAME_LENGTH else plain[: _NAME_LENGTH - 1] + "…"
