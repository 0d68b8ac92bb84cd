"""Figures of a subset: its images, their scores, architecture rankings against all images."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from evaluate.fidelity import RankCorrelation
from evaluate.figures.labels import printable
from evaluate.figures.style import BAR, PALETTE, PAPER, STYLE, TEXT, WIDTH

_NAME_LENGTH = 13  # characters per line of a class name
_BLOCK_GAP = 0.5  # between the gallery's two blocks, in tiles
_CAPTION_HEIGHT = 0.36  # under each tile, in tiles
_PANEL_HEIGHT = 3.8  # inches


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
    names = [textwrap.fill(name, _NAME_LENGTH) for name in shown_names]
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
                    fontsize=8, color=TEXT,
                )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(total_height - 0.6, -0.6), aspect="auto")
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
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
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
    axes.legend()
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
    figure = Figure(figsize=(WIDTH, _PANEL_HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for index, (axes, (name, errors)) in enumerate(zip(panels, parts.items(), strict=True)):
        colour = PALETTE[index % len(PALETTE)]
        axes.scatter(full, errors, color=colour, s=34, edgecolor=PAPER, linewidth=0.6, zorder=3)
        axes.set_title(f"{name}: τ = {correlations[name]}")
        axes.set_xlabel("top-1 error, trained on the full data (%)")
    panels[0].set_ylabel("top-1 error, trained on the part (%)")
    return figure
