"""Figures of cost: by stage, and against the accuracy that it bought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import nan
from statistics import mean, stdev

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from evaluate.figures.training import PALETTE, STYLE, WIDTH, label_accuracy, legend_below

_MARKERS = "osD^vPX*"
_LOG_RANGE = 10.0  # costs that differ by more than this factor are shown on a logarithmic axis


@dataclass(frozen=True)
class CostPoint:
    """One run: points of a series with the same label are seeds of one setting."""

    series: str
    x: float
    accuracy: float
    """Top-1, percent."""
    label: str


@dataclass(frozen=True)
class _Setting:
    """The seeds of one setting: means and sample standard deviations (NaN, which
    draws no bar, for a single seed)."""

    label: str
    count: int
    x: float
    x_std: float
    accuracy: float
    accuracy_std: float


@rc_context(STYLE)
def cost_bars(stages: Mapping[str, float], unit: str) -> Figure:
    """One bar a stage, in the given order, each with its figure; the title states the total."""
    figure = Figure(figsize=(WIDTH, 1.3 + 0.36 * len(stages)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(stages), list(stages.values()), color=PALETTE[0], height=0.62)
    axes.bar_label(
        bars, labels=[_three_figures(cost) for cost in stages.values()], padding=4, fontsize=9
    )
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(unit)
    axes.set_title(f"total {_three_figures(sum(stages.values()))} {unit}", loc="left")
    return figure


@rc_context(STYLE)
def accuracy_against_cost(points: Sequence[CostPoint], x_label: str) -> Figure:
    """Top-1 accuracy in percent over cost, one curve a series, one marker a setting.

    A marker is the mean over the setting's seeds, its bars ± one sample standard deviation in
    both directions, drawn from two seeds on. The cost axis is logarithmic where the costs are
    positive and span more than a factor of 10.
    """
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    axes = figure.subplots()
    costs = [point.x for point in points]
    if costs and min(costs) > 0 and max(costs) / min(costs) > _LOG_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for index, series in enumerate(dict.fromkeys(point.series for point in points)):
        settings = _settings([point for point in points if point.series == series])
        colour = PALETTE[index % len(PALETTE)]
        axes.errorbar(
            [setting.x for setting in settings],
            [setting.accuracy for setting in settings],
            xerr=[setting.x_std for setting in settings],
            yerr=[setting.accuracy_std for setting in settings],
            label=f"{series} ({_seeds(settings)})",
            color=colour,
            marker=_MARKERS[index % len(_MARKERS)],
            capsize=3,
            elinewidth=1.1,
        )
        for setting in settings:
            axes.annotate(
                setting.label, (setting.x, setting.accuracy), xytext=(6, -11),
                textcoords="offset points", fontsize=8, color="#404040",
            )  # fmt: skip
    axes.margins(x=0.08)
    axes.set_xlabel(x_label)
    label_accuracy(axes)
    legend_below(figure, axes, columns=3)
    return figure


def _settings(points: Sequence[CostPoint]) -> list[_Setting]:
    """The settings of one series, by mean cost."""
    settings = []
    for label, group in groupby(sorted(points, key=lambda p: p.label), key=lambda p: p.label):
        seeds = list(group)
        costs = [point.x for point in seeds]
        accuracies = [point.accuracy for point in seeds]
        settings.append(
            _Setting(
                label, len(seeds), mean(costs), _std(costs), mean(accuracies), _std(accuracies)
            )
        )
    return sorted(settings, key=lambda setting: setting.x)


def _std(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else nan


def _seeds(settings: Sequence[_Setting]) -> str:
    low, high = (pick(setting.count for setting in settings) for pick in (min, max))
    if high == 1:
        return "n = 1"
    return "mean ± std, n = " + (f"{low}" if low == high else f"{low}–{high}")


def _three_figures(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"
