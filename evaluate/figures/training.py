"""Figures over epochs: loss, accuracy, α and β."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from evaluate.figures.style import (
    BAND,
    GREY,
    PALETTE,
    STYLE,
    WIDTH,
    label_accuracy,
    legend_below,
)
from pcdarts.genotype import EDGES_PER_NODE, SOURCE_NAMES, normalize_edges

Row = Mapping[str, Any]

WARM_UP = "warm-up: α, β frozen"
EQUAL = "equal weights"
NONE, NEVER_CHOSEN = "none", "never chosen"
_LOSSES = {
    "loss": ("train", PALETTE[0]),
    "architecture_loss": ("architecture half", PALETTE[2]),
    "test_loss": ("test", PALETTE[3]),
}
_TYPICAL = 0.95  # quantile of the losses up to which the axis always reaches
_OUTLIER = 2.0  # times that loss, beyond which points are cut off
_ACCURACIES = {"accuracy": ("train", PALETTE[0]), "test_accuracy": ("test", PALETTE[3])}
_CELLS = {"normal": "normal cell", "reduce": "reduction cell"}


@rc_context(STYLE)
def learning_curves(
    rows: Sequence[Row], title: str, auxiliary_weight: float = 0.0, evaluated: str = "test"
) -> Figure:
    """Draw loss in nats (left) and top-1 accuracy in percent (right) over epochs.

    A row has "epoch", and if measured "loss", "architecture_loss", "test_loss", the fractions
    "accuracy" and "test_accuracy", and "warmup" (true while α and β are frozen). The training loss
    has the auxiliary head's loss in it, times `auxiliary_weight`, and is labelled accordingly.
    `evaluated` is the usual name of the images of the test: test, val or held-out. Rare losses far
    above the others are cut off, and named above the panel.
    """
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    for axes, curves, scale in ((left, _LOSSES, 1), (right, _ACCURACIES, 100)):
        _shade_warm_up(axes, rows)
        for key, (name, colour) in curves.items():
            points = [(epoch, scale * value) for epoch, value in _points(rows, key)]
            name = evaluated if name == "test" else name
            if auxiliary_weight and name == "train":
                name += f" (its loss with {auxiliary_weight:g} × the auxiliary head's)"
            if points:
                _curve(axes, *zip(*points, strict=True), label=name, color=colour)
        _finish_epochs(axes, rows)
    _cut_off(left, [_points(rows, key) for key in _LOSSES])
    left.set_ylabel("loss (nats)")
    label_accuracy(right)
    legend_below(figure, left, right)
    return figure


@rc_context(STYLE)
def operation_trajectories(rows: Sequence[Row], operations: Sequence[str]) -> Figure:
    """Draw softmax(α) per operation over epochs, averaged over a cell's edges, for both cells.

    A row has "epoch", "warmup" and "alphas": {"normal": [edges][operations], "reduce": likewise}
    before the softmax. The dotted line is 1 / operations. The warm-up, in which α is frozen, is
    shaded. The axis reaches from 0 to at least four times equal weights, so that small differences
    look small. `none` is grey: it is never chosen.
    """
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cell, name) in zip(panels, _CELLS.items(), strict=True):
        # [epochs, edges, operations] to [epochs, operations]
        alphas = [torch.tensor(row["alphas"][cell]).softmax(1).mean(0) for row in rows]
        names = [f"{each} ({NEVER_CHOSEN})" if each == NONE else each for each in operations]
        _shares(axes, rows, names, alphas, (GREY, *PALETTE[:-1]))
        axes.set_title(name)
    high = max(4 / len(operations), panels[0].get_ylim()[1])  # both panels share the axis
    panels[0].set_ylim(0, min(1, high))
    panels[0].set_ylabel("softmax(α), mean over edges")
    legend_below(figure, *panels)
    return figure


@rc_context(STYLE)
def edge_trajectories(rows: Sequence[Row]) -> Figure:
    """Draw softmax(β) of each node's input edges over epochs: nodes in rows, cells in columns.

    A row of `rows` has "epoch", "warmup" and "betas": {"normal": [edges], "reduce": likewise}
    before the softmax over the edges of a node. The dotted line is 1 / edges; axes are 0 to 1.
    """
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    panels = figure.subplots(len(EDGES_PER_NODE), len(_CELLS), sharex=True, sharey=True)
    for down, (cell, name) in zip(panels.T, _CELLS.items(), strict=True):
        betas = [normalize_edges(torch.tensor(row["betas"][cell])) for row in rows]
        parts = zip(*(row.split(EDGES_PER_NODE) for row in betas), strict=True) if betas else ()
        nodes = list(parts) or [()] * len(EDGES_PER_NODE)
        for node, (axes, edges, shares) in enumerate(zip(down, EDGES_PER_NODE, nodes, strict=True)):
            _shares(axes, rows, SOURCE_NAMES[:edges], shares)
            axes.set_title(f"{name.split()[0]}, node {node}")
            axes.set(ylim=(0, 1), yticks=(0, 0.5, 1))
            if node < len(EDGES_PER_NODE) - 1:
                axes.set_xlabel("")
    for axes in panels[:, 0]:
        axes.set_ylabel("softmax(β)")
    legend_below(figure, *panels.flatten())
    return figure


def _shares(
    axes: Axes,
    rows: Sequence[Row],
    names: Sequence[str],
    shares: Sequence[Tensor],
    colours: Sequence[str] = PALETTE,
) -> None:
    """Draw one line per name, from one tensor [names] per epoch, and a dotted one at 1 / names."""
    _shade_warm_up(axes, rows)
    for index, name in enumerate(names if rows else ()):
        _curve(
            axes,
            [row["epoch"] for row in rows],
            [float(share[index]) for share in shares],
            label=name,
            color=colours[index % len(colours)],
            linestyle="--" if index % 2 else "-",
        )
    axes.axhline(1 / len(names), color=GREY, linestyle=":", linewidth=1, zorder=1, label=EQUAL)
    _finish_epochs(axes, rows)


def _curve(axes: Axes, epochs: Sequence[int], values: Sequence[float], **style: Any) -> None:
    # A line through a single point would be invisible.
    axes.plot(epochs, values, marker="o" if len(epochs) == 1 else "", **style)


def _points(rows: Sequence[Row], key: str) -> list[tuple[int, float]]:
    return [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]


def _cut_off(axes: Axes, curves: Sequence[Sequence[tuple[int, float]]]) -> None:
    """End the axis below spikes, and name them above it: losses of more than twice the 95 %
    quantile, and of more than twice an earlier one, so that a loss that only falls is kept."""
    points = [
        (loss, epoch, min((each for _, each in curve[:place]), default=loss))
        for curve in curves
        for place, (epoch, loss) in enumerate(curve)
    ]
    losses = sorted(loss for loss, _, _ in points)
    typical = losses[int(_TYPICAL * len(losses))] if losses else 0.0
    spikes = [point for point in points if point[0] > _OUTLIER * max(typical, point[2])]
    if not spikes:
        return
    kept = [point[0] for point in points if point not in spikes]
    margin = 0.05 * (max(kept) - min(kept)) or 0.05 * max(kept)
    axes.set_ylim(min(kept) - margin, max(kept) + margin)
    loss, epoch, _ = max(spikes)
    one = f"{loss:.3g} in epoch {epoch}"
    named = one if len(spikes) == 1 else f"{len(spikes)}, up to {loss:.3g}"
    axes.set_title(f"cut off: {named}", loc="left", weight="normal")


def _shade_warm_up(axes: Axes, rows: Sequence[Row]) -> None:
    epochs = [row["epoch"] for row in rows if row.get("warmup")]
    if epochs:
        axes.axvspan(min(epochs) - 0.5, max(epochs) + 0.5, color=BAND, lw=0, label=WARM_UP)


def _finish_epochs(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if rows:
        epochs = [row["epoch"] for row in rows]
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    else:
        axes.text(0.5, 0.5, "no epoch recorded", transform=axes.transAxes, ha="center", color=GREY)
