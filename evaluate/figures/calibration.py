"""Reliability diagram: accuracy against confidence."""

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from evaluate.calibration import Bin
from evaluate.figures.style import GREY, PALETTE, STYLE, WIDTH


@rc_context(STYLE)
def reliability_diagram(bins: Sequence[Bin], error: float) -> Figure:
    """Draw the accuracy of each bin with images at its mean confidence, and below it the images.

    error: the calibration error in [0, 1].
    """
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    full = [each for each in bins if each.images]
    above.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="confidence = accuracy")
    means = [each.confidence for each in full]
    above.plot(means, [each.accuracy for each in full], "o-", color=PALETTE[0], label="images")
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    above.set_title(f"calibration error {100 * error:.1f} %", loc="left")
    above.legend(loc="upper left")
    middles = [(each.low + each.high) / 2 for each in bins]
    width = bins[0].high - bins[0].low
    below.bar(middles, [each.images for each in bins], width=0.9 * width, color=PALETTE[0])
    below.set(xlabel="confidence", ylabel="images")
    return figure
