"""How often each pixel of an image is seen in its mixes."""

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from evaluate.figures.style import PALETTE, STYLE

# From transparent, so that the page's own background shows through in light and dark schemes.
_SHADES = LinearSegmentedColormap.from_list(
    "seen", [(*to_rgb(PALETTE[0]), 0.0), (*to_rgb(PALETTE[0]), 0.9)]
)


@rc_context(STYLE)
def visibility_map(seen: np.ndarray) -> Figure:
    """Draw the share in percent of the mixes in which each pixel is seen; `seen` [H, W]."""
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(100 * seen, _SHADES, vmin=0, vmax=100, interpolation="nearest")
    axes.set(xlabel="column", ylabel="row")
    axes.grid(visible=False)
    bar = figure.colorbar(shown, ax=axes)
    bar.set_label("mixes that show the pixel (%)")
    return figure
