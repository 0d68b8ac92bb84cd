"""Size, colours, legends and saving, common to all figures.

Drawing functions take plain data and return a matplotlib Figure, built without pyplot, so no figure
is shown, kept open or shared between threads. Figures are 8 in wide, for reading at 800 px.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import (
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)

from classification.errors import ConfigError
from classification.persistence.storage import write_atomically

WIDTH = 8.0  # inches
DPI = 150
# HTML reports replace each of these by a CSS variable: see `evaluate.figures.svg`.
INK, PAPER = "#000000", "#ffffff"
TEXT, EDGE, GREY, BAR, GRID = "#404040", "#606060", "#8a8a8a", "#bdbdbd", "#e4e4e4"
BAND = "#f0ead6"
# Okabe & Ito 2008, distinct under common colour blindness; without yellow, too faint on white.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", INK, GREY)
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": EDGE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # class names are arbitrary text
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.h_pad": 0.1,  # inches
    "figure.constrained_layout.w_pad": 0.1,
}

_LOG_RANGE = 10.0
_WIDE_RANGE = 5.0  # below this factor, ticks 1, 2, 5, 10, … are too few for a logarithmic axis
# Reproducible bytes: omit the date and matplotlib's version.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_CANVASES = {".png": FigureCanvasAgg, ".svg": FigureCanvasSVG, ".pdf": FigureCanvasPdf}


def check_figure_path(path: Path) -> None:
    """Raise ConfigError unless `path` can hold a figure: PNG, SVG or PDF, not a folder."""
    if path.suffix.lower() not in _METADATA:
        allowed = ", ".join(_METADATA)
        raise ConfigError(f"{path}: found suffix '{path.suffix}'; allowed: {allowed}")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; allowed: a file name")


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` atomically as PNG, SVG or PDF, by the suffix of `path`.

    The same figure gives the same bytes. Missing folders are created. Raises ConfigError as
    `check_figure_path` does.
    """
    check_figure_path(path)
    content = figure_bytes(figure, path.suffix.lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def figure_bytes(figure: Figure, suffix: str, **settings: Any) -> bytes:
    """Return the content of a file with this suffix; `settings` are rc settings of matplotlib."""
    if figure.get_layout_engine() is not None:
        # Lay out once: every further draw would move artists by a fraction of a pixel.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    figure.set_dpi(DPI)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "figure"} | settings):
        # Figure.savefig would draw a second time, only for the layout.
        canvas = _CANVASES[suffix](figure)
        getattr(canvas, f"print_{suffix[1:]}")(buffer, metadata=_METADATA[suffix])
    return buffer.getvalue()


def needs_log_axis(values: Sequence[float]) -> bool:
    """Return whether values are positive and span more than a factor of 10."""
    return min(values) > 0 and max(values) / min(values) > _LOG_RANGE


def use_log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with ticks at round numbers. Call it before drawing,
    because the limits depend on it."""
    axes.set_xscale("log")
    wide = max(values) / min(values) >= _WIDE_RANGE
    locator: Locator = LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, *panels: Axes, columns: int = 5) -> None:
    """Add one legend for all panels below them, each name once, in as many columns as fit."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    for count in range(min(columns, len(entries)), 0, -1):
        legend = figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=count
        )
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def explain_legend(figure: Figure, text: str) -> None:
    """Write a line above the legend, such as the meaning of the bars."""
    figure.legends[0].set_title(text)
    figure.legends[0].get_title().set(fontsize=9, color=TEXT)


def label_accuracy(axes: Axes) -> None:
    """Label the vertical axis of accuracies drawn in percent, and limit it near 100."""
    axes.set_ylabel("top-1 accuracy (%)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101.0))
