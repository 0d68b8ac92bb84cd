"""Figures of a subset: its images, their scores, architecture rankings against all images."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from evaluate.fidelity import RankCorrelation
from evaluate.figures.labels import printable
from evaluate.figures.style import (
    BAR,
    EDGE,
    PALETTE,
    PAPER,
    STYLE,
    TEXT,
    WIDTH,
    fit_line,
    legend_below,
)

# Of the gallery, in inches.
_BLOCK_GAP = 0.2  # between the blocks
_TEXT_HEIGHT = 0.16  # a line of text
_MARGIN = 0.05
_NAME_LENGTH = 50  # characters of a class name
_PANEL_HEIGHT = 2.2  # inches


@rc_context(STYLE)
def subset_gallery(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    cv: NDArray[np.floating],
    per_class: int = 6,
    max_classes: int = 5,
) -> Figure:
    """Draw each class's images of highest (left) and lowest (right) coefficient of variation.

    images: [N, 3, H, W]; labels and cv: [N]. Shows the first `max_classes` classes that occur. A
    class of fewer than 2 · per_class images shows half of them on each side.
    """
    shown = np.unique(labels)[:max_classes]
    shown_names = [printable(class_names[label]).replace("_", " ") for label in shown]
    names = [textwrap.shorten(name, _NAME_LENGTH, placeholder=" …") for name in shown_names]
    tile = (WIDTH - 2 * _MARGIN - _BLOCK_GAP) / (2 * per_class)
    height = (tile - _MARGIN) * images.shape[2] / images.shape[3]
    pitch = height + 2.9 * _TEXT_HEIGHT  # an image under the name and above its CV
    total_height = _TEXT_HEIGHT + len(shown) * pitch + _MARGIN
    figure = Figure(figsize=(WIDTH, total_height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    blocks = {"highest CV": _MARGIN, "lowest CV": _MARGIN + per_class * tile + _BLOCK_GAP}
    for heading, x in blocks.items():
        axes.text(
            x + per_class * tile / 2, _TEXT_HEIGHT / 2 + _MARGIN, heading,
            ha="center", va="center", weight="bold",
        )  # fmt: skip
    for row, (label, name) in enumerate(zip(shown, names, strict=True)):
        top = 2.2 * _TEXT_HEIGHT + row * pitch
        axes.text(_MARGIN, top - 0.1 * _TEXT_HEIGHT, name, ha="left", va="bottom")
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(-cv[members], kind="stable")]
        count = min(per_class, max(1, len(order) // 2))
        for x, block in zip(blocks.values(), (order[:count], order[-count:]), strict=True):
            for column, index in enumerate(block):
                left = x + column * tile + _MARGIN / 2
                right = left + tile - _MARGIN
                axes.imshow(
                    images[index].transpose(1, 2, 0),
                    extent=(left, right, top + height, top),
                    interpolation="nearest",
                )
                axes.add_patch(
                    Rectangle(
                        (left, top), right - left, height, fill=False, edgecolor=EDGE, linewidth=0.4
                    )
                )  # the border of a white image
                axes.text(
                    (left + right) / 2, top + height + 0.02, f"{cv[index]:.2f}", ha="center",
                    va="top", color=TEXT,
                )  # fmt: skip
    axes.set(xlim=(0, WIDTH), ylim=(total_height, 0), aspect="auto")
    return figure


@rc_context(STYLE)
def cv_histogram(
    cv: NDArray[np.floating],
    selected: NDArray[np.bool_],
    cut: tuple[float, float] | None = None,
) -> Figure:
    """Draw the distribution of the coefficient of variation over all images and over the subset.

    cv: [N]; selected: [N], true for images of the subset. `cut` is the result of `lowest_kept`,
    for a subset of the highest CV.
    """
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    edges = np.histogram_bin_edges(cv, bins=int(np.clip(np.sqrt(len(cv)), 10, 60)))
    for values, name, colour in (
        (cv, "all images", BAR),
        (cv[selected], "subset", PALETTE[0]),
    ):
        axes.hist(values, bins=edges.tolist(), color=colour, label=f"{name} (n = {len(values):,})")
    if cut is not None:
        low, high = (f"{value:.2f}" for value in cut)
        label = f"threshold {low}" + (f" to {high} by class" if low != high else "")
        axes.axvspan(*cut, facecolor=PALETTE[3], edgecolor=PALETTE[3], alpha=0.3, label=label)
    axes.set_xlabel("coefficient of variation of the loss over the mixes, σ / μ")
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, axes, columns=2)
    return figure


def lowest_kept(
    cv: NDArray[np.floating], labels: NDArray[np.integer], kept: NDArray[np.bool_]
) -> tuple[float, float] | None:
    """Return the minimum and maximum over classes of the lowest CV that a class keeps.

    All are [N]. None if a class keeps no image, or drops one of a higher CV than one it keeps.
    """
    cuts = []
    for label in np.unique(labels):
        own = labels == label
        inside, outside = cv[own & kept], cv[own & ~kept]
        if not len(inside) or (len(outside) and outside.max() > inside.min()):
            return None
        cuts.append(float(inside.min()))
    return min(cuts), max(cuts)


@rc_context(STYLE)
def fidelity_scatter(
    full: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    correlations: Mapping[str, RankCorrelation],
) -> Figure:
    """Draw top-1 errors in percent on a part over those on all images: one panel per part, one dot
    per network.

    `parts` maps a part's name to its errors, in the order of `full`. Each panel's title gives
    Kendall's tau and its interval.
    """
    figure = Figure(figsize=(WIDTH, _PANEL_HEIGHT * len(parts) + 0.3), layout="constrained")
    panels = figure.subplots(len(parts), 1, sharex=True, squeeze=False).flatten()
    for index, (axes, (name, errors)) in enumerate(zip(panels, parts.items(), strict=True)):
        colour = PALETTE[index % len(PALETTE)]
        axes.scatter(full, errors, color=colour, s=16, edgecolor=PAPER, linewidth=0.4, zorder=3)
        axes.set_title(fit_line(f"{name}: τ = {correlations[name]}"), loc="left")
        axes.set_ylabel("error on the part (%)")
    panels[-1].set_xlabel("top-1 error, trained on the full data (%)")
    return figure
