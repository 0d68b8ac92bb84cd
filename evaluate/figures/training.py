"""Figures of what the stages did: training, search and scoring, and how any figure is saved.

Each function takes plain data and returns a matplotlib Figure, built without pyplot, so nothing
is shown, kept open or shared between threads. Figures are 8 in wide, meant to be read at 800 px.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from classification.errors import ConfigError
from classification.persistence.storage import write_atomically

Row = Mapping[str, Any]

WIDTH = 8.0  # inches
DPI = 150
GREY = "#8a8a8a"
# Okabe & Ito 2008, told apart under every common colour blindness; yellow is too faint on white.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000", GREY)
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#606060",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a class may be called anything
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.h_pad": 0.1,  # inches
    "figure.constrained_layout.w_pad": 0.1,
}

_WARM_UP_COLOUR = "#f0ead6"
# Reproducible bytes: neither the date nor matplotlib's version is written.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_LOSSES = {
    "loss": ("train", PALETTE[0]),
    "architecture_loss": ("architecture half", PALETTE[2]),
    "test_loss": ("test", PALETTE[3]),
}
_ACCURACIES = {"accuracy": ("train", PALETTE[0]), "test_accuracy": ("test", PALETTE[3])}
_NAME_LENGTH = 13  # characters of a class name before it wraps
_BLOCK_GAP = 0.5  # between the gallery's two blocks, in tiles
_CAPTION_HEIGHT = 0.36  # under each tile, in tiles


def check_figure_path(path: Path) -> None:
    """Raise ConfigError unless a figure can be written under this name: PNG, SVG or PDF."""
    if path.suffix.lower() not in _METADATA:
        allowed = ", ".join(_METADATA)
        raise ConfigError(f"{path}: a figure ends in {allowed}, got '{path.suffix}'")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; a figure needs the name of a file")


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG, SVG or PDF by the suffix of `path`, whole or not at all.

    The same figure gives the same bytes. Missing folders are made. Raises ConfigError as
    `check_figure_path` does.
    """
    check_figure_path(path)
    suffix = path.suffix.lower()
    if figure.get_layout_engine() is not None:
        # Settled once: every further draw would move things by a fraction of a pixel.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "figure"}):
        figure.savefig(
            buffer, format=suffix[1:], dpi=DPI, facecolor="white", metadata=_METADATA[suffix]
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def legend_below(figure: Figure, *panels: Axes, columns: int = 5) -> None:
    """Put one legend for all panels under them, each name once, in as many columns as fit."""
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


def label_accuracy(axes: Axes) -> None:
    """Name the vertical axis of accuracies already drawn in percent, and end it near 100."""
    axes.set_ylabel("top-1 accuracy (%)")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 101.0))


@rc_context(STYLE)
def learning_curves(rows: Sequence[Row], title: str) -> Figure:
    """Loss in nats (left) and top-1 accuracy in percent (right) over epochs.

    A row has "epoch", and where measured "loss", "architecture_loss", "test_loss", the fractions
    "accuracy" and "test_accuracy", and "warmup" (true while α and β are frozen).
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    for axes, curves, scale in ((left, _LOSSES, 1), (right, _ACCURACIES, 100)):
        _shade_warm_up(axes, rows)
        for key, (name, colour) in curves.items():
            points = [(row["epoch"], scale * row[key]) for row in rows if row.get(key) is not None]
            if points:
                _curve(axes, points, label=name, color=colour)
        _finish_epochs(axes, rows)
    left.set_ylabel("loss (nats)")
    label_accuracy(right)
    legend_below(figure, left, right)
    return figure


@rc_context(STYLE)
def architecture_trajectories(rows: Sequence[Row], operations: Sequence[str]) -> Figure:
    """softmax(α) per operation, the mean over a cell's edges, for both kinds of cell over epochs.

    A row has "epoch", "warmup" and "alphas": {"normal": [edges][operations], "reduce": likewise}
    before the softmax. The dotted line is where all operations are equal. Epochs of the warm-up,
    in which α is frozen, are shaded.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, cell in zip(panels, ("normal", "reduce"), strict=True):
        _shade_warm_up(axes, rows)
        if rows:
            alphas = np.array([row["alphas"][cell] for row in rows], dtype=float)
            shares = _softmax(alphas).mean(axis=1)  # [epochs, operations]
            epochs = [row["epoch"] for row in rows]
            for index, operation in enumerate(operations):
                _curve(
                    axes,
                    list(zip(epochs, shares[:, index], strict=True)),
                    label=operation,
                    color=PALETTE[index % len(PALETTE)],
                    linestyle="--" if index % 2 else "-",
                )
        axes.axhline(1 / len(operations), color=GREY, linestyle=":", linewidth=1, zorder=1)
        axes.set_title(f"{cell} cell")
        _finish_epochs(axes, rows)
    panels[0].set_ylabel("softmax(α), mean over edges")
    legend_below(figure, *panels)
    return figure


@rc_context(STYLE)
def subset_gallery(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    cv: NDArray[np.floating],
    per_class: int = 6,
    max_classes: int = 5,
) -> Figure:
    """Each class's images of highest (left) and lowest (right) coefficient of variation.

    images: [N, 3, H, W]; labels and cv: [N]. The first `max_classes` classes that occur are
    shown. A class of fewer than 2 · per_class images shows half of them on each side.
    """
    shown = np.unique(labels)[:max_classes]
    names = [textwrap.fill(class_names[label].replace("_", " "), _NAME_LENGTH) for label in shown]
    longest = max(len(line) for name in names for line in name.splitlines())
    left_block = 0.5 + 0.13 * longest
    height = images.shape[2] / images.shape[3]
    pitch = height + _CAPTION_HEIGHT
    right_block = left_block + per_class + _BLOCK_GAP
    width = right_block + per_class + 0.15
    total_height = len(shown) * pitch + 0.6
    figure = Figure(figsize=(WIDTH, WIDTH * total_height / width))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    for x, heading in ((left_block, "highest CV"), (right_block, "lowest CV")):
        axes.text(x + per_class / 2, -0.25, heading, ha="center", va="center", weight="bold")
    for row, (label, name) in enumerate(zip(shown, names, strict=True)):
        top = row * pitch
        axes.text(0.15, top + height / 2, name, ha="left", va="center", fontsize=9)
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(-cv[members], kind="stable")]
        count = min(per_class, max(1, len(order) // 2))
        for x, block in ((left_block, order[:count]), (right_block, order[-count:])):
            for column, index in enumerate(block):
                left = x + column
                axes.imshow(
                    images[index].transpose(1, 2, 0),
                    extent=(left + 0.04, left + 0.96, top + height - 0.04, top + 0.04),
                    interpolation="nearest",
                )
                axes.text(
                    left + 0.5, top + height + 0.12, f"{cv[index]:.2f}", ha="center", va="center",
                    fontsize=8, color="#404040",
                )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(total_height - 0.6, -0.6), aspect="auto")
    return figure


@rc_context(STYLE)
def cv_histogram(cv: NDArray[np.floating], selected: NDArray[np.bool_]) -> Figure:
    """How the coefficient of variation is spread over the images, and over those selected.

    cv: [N]; selected: [N], true for images of the subset.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.histogram_bin_edges(cv, bins=int(np.clip(np.sqrt(len(cv)), 10, 60)))
    for values, name, colour in (
        (cv, "all images", "#bdbdbd"),
        (cv[selected], "subset", PALETTE[0]),
    ):
        axes.hist(values, bins=edges.tolist(), color=colour, label=f"{name} (n = {len(values):,})")
    axes.set_xlabel("coefficient of variation of the loss over the mixes, σ / μ")
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _softmax(alphas: NDArray[np.floating]) -> NDArray[np.floating]:
    powers = np.exp(alphas - alphas.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _curve(axes: Axes, points: Sequence[tuple[float, float]], **style: Any) -> None:
    epochs, values = zip(*points, strict=True)
    # A line through a single point would not be seen.
    axes.plot(epochs, values, marker="o" if len(points) == 1 else "", markersize=4, **style)


def _shade_warm_up(axes: Axes, rows: Sequence[Row]) -> None:
    epochs = [row["epoch"] for row in rows if row.get("warmup")]
    if epochs:
        axes.axvspan(
            min(epochs) - 0.5, max(epochs) + 0.5, color=_WARM_UP_COLOUR, lw=0, label="warm-up"
        )


def _finish_epochs(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if rows:
        epochs = [row["epoch"] for row in rows]
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    else:
        axes.text(0.5, 0.5, "no epoch recorded", transform=axes.transAxes, ha="center", color=GREY)
