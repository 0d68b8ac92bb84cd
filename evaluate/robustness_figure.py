"""Accuracy under attack against ε, for any number of classifiers."""

from collections.abc import Mapping
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import binomtest

from evaluate.figures import PALETTE, STYLE, WIDTH, label_accuracy, legend_below
from evaluate.statistics import CONFIDENCE

_LINES = {"fgsm": "--", "pgd": "-"}
_MARKERS = {"white-box": "o", "gray-box": "s", "black-box": "^"}


@rc_context(STYLE | {"legend.handlelength": 3.2})
def robustness_curves(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A line for each attack on each classifier, from its clean accuracy at ε = 0 on.

    `results` maps a classifier's name to what `measure_robustness` returned. A colour is a
    classifier attacked from one model. Bars are 95 % intervals for that many images (Wilson 1927).
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    colours: dict[tuple[Any, ...], str] = {}
    for name, result in results.items():
        for attack in result["attacks"]:
            who = (name, attack["kind"], attack["architecture"])
            colour = colours.setdefault(who, PALETTE[len(colours) % len(PALETTE)])
            points = [{"epsilon": 0.0, **result["clean"]}, *attack["curve"]]
            heights = [100 * point["accuracy"] for point in points]
            ends = [_interval(point["correct"], point["images"]) for point in points]
            axes.errorbar(
                [255 * point["epsilon"] for point in points],
                heights,
                yerr=[
                    [max(0.0, y - low) for y, (low, _) in zip(heights, ends, strict=True)],
                    [max(0.0, high - y) for y, (_, high) in zip(heights, ends, strict=True)],
                ],
                label=_label(name if len(results) > 1 else "", attack, result["images"]),
                color=colour,
                linestyle=_LINES[attack["attack"]],
                marker=_MARKERS[attack["kind"]],
                markerfacecolor="white" if attack["attack"] == "fgsm" else colour,
                markersize=5,
                capsize=3,
                elinewidth=1,
            )
    axes.set_xlabel("ε (1/255 of a pixel's range, L∞)")
    label_accuracy(axes)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_title("Accuracy under attack, 95 % intervals", loc="left")
    legend_below(figure, axes, columns=2)
    return figure


def _interval(correct: int, images: int) -> tuple[float, float]:
    found = binomtest(correct, images).proportion_ci(CONFIDENCE, method="wilson")
    return 100 * found.low, 100 * found.high


def _label(name: str, attack: Mapping[str, Any], images: int) -> str:
    source = "" if attack["kind"] == "white-box" else f" from {attack['architecture']}"
    words = f"{attack['attack'].upper()}, {attack['kind']}{source} (n = {images:,})"
    return f"{name}: {words}" if name else words
