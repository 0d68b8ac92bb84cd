"""How often each pixel of an image is seen in its mixes."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from evaluate.figures.style import PALETTE, STYLE, WIDTH

# From transparent, so that the page's own background shows through in light and dark schemes.
_SHADES = LinearSegmentedColormap.from_list(
    "seen", [(*to_rgb(PALETTE[0]), 0.0), (*to_rgb(PALETTE[0]), 0.9)]
)


@rc_context(STYLE)
def visibility_map(seen: np.ndarray) -> Figure:
    """Draw the share in percent of the mixes in which each pixel is seen; `seen` [H, W]."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    draw_visibility(axes, seen)
    axes.set(xlabel="column", ylabel="row")
    return figure


def draw_visibility(axes: Axes, seen: np.ndarray, beside: Axes | None = None) -> None:
    """Draw `visibility_map` into `axes`, and the key of its shades into `beside`, or next to it."""
    shown = axes.imshow(100 * seen, _SHADES, vmin=0, vmax=100, interpolation="nearest")
    axes.grid(visible=False)
    bar = axes.figure.colorbar(shown, cax=beside, ax=axes)
    bar.set_label("seen (% of mixes)")
