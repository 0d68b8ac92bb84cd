"""Errors of the same architectures, trained on a part of the images and on all of them."""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from evaluate.fidelity import RankCorrelation
from evaluate.figures.training import PALETTE, STYLE, WIDTH

_PANEL_HEIGHT = 3.8  # inches


@rc_context(STYLE)
def fidelity_scatter(
    full: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    correlations: Mapping[str, RankCorrelation],
) -> Figure:
    """Top-1 errors in percent on a part over those on all images: a panel a part, a dot a network.

    `parts` maps a part's name to its errors, in the order of `full`; each panel's title states
    Kendall's tau and its interval.
    """
    figure = Figure(figsize=(WIDTH, _PANEL_HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for index, (axes, (name, errors)) in enumerate(zip(panels, parts.items(), strict=True)):
        colour = PALETTE[index % len(PALETTE)]
        axes.scatter(full, errors, color=colour, s=34, edgecolor="white", linewidth=0.6, zorder=3)
        axes.set_title(f"{name}: τ = {correlations[name]}")
        axes.set_xlabel("top-1 error, trained on the full data (%)")
    panels[0].set_ylabel("top-1 error, trained on the part (%)")
    return figure
