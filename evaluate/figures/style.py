"""Size, colours, legends and saving, common to all figures.

Drawing functions take plain data and return a matplotlib Figure, built without pyplot, so no figure
is shown, kept open or shared between threads. Figures are 4 in wide, so that one figure serves a
narrow column of a paper, where its text has at least 6 pt, a phone and a page.
"""

import importlib
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
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

WIDTH = 4.0  # inches
DPI = 300
COLUMN = 80 / 25.4  # inches, the narrowest column in which a figure is printed
LEAST_PRINTED = 6.0  # points, of text in that column
# Characters across a figure, of plain and of bold text, and across one of two panels.
LINE, TITLE_LINE, PANEL_LINE = 60, 52, 22
_TICK = 0.36  # inches, of a label of an axis
# HTML reports replace each of these by a CSS variable: see `evaluate.figures.svg`.
INK, PAPER = "#000000", "#ffffff"
TEXT, EDGE, GREY, BAR, GRID = "#404040", "#606060", "#8a8a8a", "#bdbdbd", "#e4e4e4"
BAND = "#f0ead6"
# Okabe & Ito 2008, distinct under common colour blindness; without yellow, too faint on white.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", INK, GREY)
STYLE: Any = {
    # Sizes in points. No text is smaller than font.size: LEAST_PRINTED at COLUMN / WIDTH.
    "font.size": 8,
    **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 8),
    "legend.fontsize": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 4,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": EDGE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.labelpad": 2,
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    **dict.fromkeys(("xtick.minor.size", "ytick.minor.size"), 1.5),
    **dict.fromkeys(("xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.minor.width", "ytick.minor.width"), 0.5),
    **dict.fromkeys(("xtick.major.pad", "ytick.major.pad"), 2),
    "text.parse_math": False,  # class names are arbitrary text
    "legend.frameon": False,
    "legend.columnspacing": 1.2,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.35,
    "figure.constrained_layout.h_pad": 0.04,  # inches
    "figure.constrained_layout.w_pad": 0.04,
}

_LOG_RANGE = 10.0
_WIDE_RANGE = 5.0  # below this factor, ticks 1, 2, 5, 10, … are too few for a logarithmic axis
# Reproducible bytes: omit the date and matplotlib's version.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
# Imported when a file is written: that of PDF is slow to import, with its subsetting of fonts.
_BACKENDS = {".png": "agg", ".svg": "svg", ".pdf": "pdf"}


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
        backend = importlib.import_module(f"matplotlib.backends.backend_{_BACKENDS[suffix]}")
        canvas = backend.FigureCanvas(figure)
        getattr(canvas, f"print_{suffix[1:]}")(buffer, metadata=_METADATA[suffix])
    return buffer.getvalue()


def needs_log_axis(values: Sequence[float]) -> bool:
    """Return whether values are positive and span more than a factor of 10."""
    return min(values) > 0 and max(values) / min(values) > _LOG_RANGE


def use_log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with ticks at round numbers. Call it before drawing,
    because the limits depend on it."""
    axes.set_xscale("log")
    ratio = max(values) / min(values)
    fitting = axes.get_window_extent().width / axes.figure.dpi / _TICK
    locator: Locator = MaxNLocator(min(6, int(fitting)))
    if ratio >= _WIDE_RANGE:
        dense = 3 * math.log10(ratio) <= fitting
        locator = LogLocator(subs=(1, 2, 5)) if dense else LogLocator(numticks=int(fitting) + 1)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def fit_line(text: str, length: int = TITLE_LINE) -> str:
    """Break `text` into lines of at most `length` characters, by default a figure's width of bold
    text, or of text beside the sample of a legend.
    """
    return "\n".join(textwrap.fill(line, length) for line in text.split("\n"))


def legend_below(figure: Figure, *panels: Axes, columns: int = 5) -> None:
    """Add one legend for all panels below them, each name once, in as many columns as fit.

    Long names have several lines.
    """
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    for count in range(min(columns, len(entries)), 0, -1):
        legend = figure.legend(
            entries.values(), map(fit_line, entries), loc="outside lower center", ncols=count
        )
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def explain_legend(figure: Figure, text: str) -> None:
    """Write a line above the legend, such as the meaning of the bars."""
    figure.legends[0].set_title(fit_line(text, LINE))
    figure.legends[0].get_title().set(fontsize=STYLE["font.size"], color=TEXT)


def label_accuracy(axes: Axes) -> None:
    """Label the vertical axis of accuracies drawn in percent, and limit it near 100."""
    axes.set_ylabel("top-1 accuracy (%)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101.0))
