"""Accuracy under attack against ε, for one or several classifiers."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluate.figures.style import (
    PALETTE,
    PANEL_LINE,
    PAPER,
    STYLE,
    TITLE_LINE,
    WIDTH,
    explain_legend,
    fit_line,
    label_accuracy,
    legend_below,
)
from evaluate.robustness.measure import named_attacks
from evaluate.statistics import summarise_seeds, wilson_interval

Result = Mapping[str, Any]  # as `measure_robustness` returns it
Points = Sequence[Mapping[str, Any]]  # {epsilon, accuracy, correct, images}, rising in ε

_STYLE = STYLE | {"legend.handlelength": 3.0}
_LINES = {"fgsm": "--", "pgd": "-"}
_MARKERS = {"white-box": "o", "gray-box": "s", "black-box": "^"}
_OF_CLASSIFIERS = "os^Dv*PX"
_AXIS = "ε (1/255 of a pixel's range, L∞)"
_PANEL = 1.7  # inches high
_SHIFT = 0.12  # 1/255: distance between classifiers at one ε, so that bars do not overlap


@rc_context(_STYLE)
def robustness_curves(result: Result) -> Figure:
    """Draw one line per attack on a classifier, starting at its clean accuracy at ε = 0.

    Colours show the model that the images were made on. Bars are 95 % intervals for n images
    (Wilson 1927).
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    colours: dict[str, str] = {}
    for (source, name), attack in named_attacks(result).items():
        colour = colours.setdefault(source, PALETTE[len(colours) % len(PALETTE)])
        _draw(
            axes,
            [_from_clean(result, attack)],
            label=f"{name.upper()}, {source} (n = {result['images']:,})",
            color=colour,
            linestyle=_LINES[name],
            marker=_MARKERS[attack["kind"]],
            markerfacecolor=PAPER if name == "fgsm" else colour,
        )
    axes.set_xlabel(_AXIS)
    _finish([axes])
    axes.set_title("Accuracy under attack, 95 % intervals", loc="left")
    legend_below(figure, axes, columns=2)
    return figure


@rc_context(_STYLE)
def compared_curves(results: Mapping[str, Sequence[Result]]) -> Figure:
    """Draw one panel per attack, with one line per classifier, starting at its clean accuracy.

    `results` maps a classifier's name to the results of its seeds, all under the same attacks. A
    panel of a substitute shows only the classifiers attacked from it. Bars are ± one sample
    deviation over seeds, or for one seed as in `robustness_curves`.
    """
    attacks = dict.fromkeys(who for seeds in results.values() for r in seeds for who in _names(r))
    columns = min(2, len(attacks))
    rows = -(-len(attacks) // columns)
    figure = Figure(figsize=(WIDTH, _PANEL * rows + 0.2 * len(results) + 0.3), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten())
    for axes, who in zip(panels, attacks, strict=False):
        for number, (classifier, seeds) in enumerate(results.items()):
            attacked = [r for r in seeds if who in _names(r)]
            if attacked:
                _draw(
                    axes,
                    [_from_clean(r, named_attacks(r)[who]) for r in attacked],
                    shift=_SHIFT * (number - (len(results) - 1) / 2),
                    label=f"{classifier} (n = {len(seeds)})",
                    color=PALETTE[number % len(PALETTE)],
                    marker=_OF_CLASSIFIERS[number % len(_OF_CLASSIFIERS)],
                )
        title = f"{who[1].upper()}, {who[0]}"
        axes.set_title(fit_line(title, PANEL_LINE if columns > 1 else TITLE_LINE), loc="left")
    for axes in panels[len(attacks) :]:
        axes.remove()
    shown = panels[: len(attacks)]
    _finish(shown)
    for place, axes in enumerate(shown):
        axes.tick_params(labelbottom=True)
        if place >= len(attacks) - columns:  # the lowest of its column
            axes.set_xlabel(_AXIS)
        if place % columns:
            axes.set_ylabel("")
    legend_below(figure, *shown, columns=2)
    explain_legend(
        figure, "bars: ± one standard deviation over n seeds; for one seed its 95 % interval"
    )
    return figure


def _draw(axes: Axes, seeds: Sequence[Points], *, shift: float = 0.0, **look: Any) -> None:
    """Draw a line through the means of `seeds`, whose points have the same ε."""
    heights, below, above = zip(*(_bar(at) for at in zip(*seeds, strict=True)), strict=True)
    axes.errorbar(
        [255 * point["epsilon"] + shift for point in seeds[0]],
        heights,
        yerr=[below, above],
        capsize=2,
        elinewidth=0.8,
        capthick=0.8,
        **look,
    )


def _bar(points: Points) -> tuple[float, float, float]:
    """Return the mean at one ε over one point per seed, and its bar down and up, in percent."""
    summary = summarise_seeds([100 * point["accuracy"] for point in points])
    if summary.std is not None:
        return summary.mean, summary.std, summary.std
    (point,) = points
    low, high = wilson_interval(point["correct"], point["images"])
    height = summary.mean
    return height, max(0.0, height - 100 * low), max(0.0, 100 * high - height)


def _finish(panels: Sequence[Axes]) -> None:
    for axes in panels:
        label_accuracy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _from_clean(result: Result, attack: Mapping[str, Any]) -> Points:
    return [{"epsilon": 0.0, **result["clean"]}, *attack["curve"]]


def _names(result: Result) -> list[tuple[str, str]]:
    return list(named_attacks(result))
