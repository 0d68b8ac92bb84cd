"""Error against total cost of many ways of choosing, numbered, with their Pareto front."""

import math
from collections.abc import Collection, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluate.figures.contest import pareto_front, staircase
from evaluate.figures.labels import label_points
from evaluate.figures.study import Setting, StudyPoint, settings_by_series
from evaluate.figures.style import (
    GREY,
    INK,
    PALETTE,
    STYLE,
    WIDTH,
    explain_legend,
    fit_line,
    legend_below,
    needs_log_axis,
    use_log_axis,
)

_AXES = 3.6  # inches of height, without the legend


@rc_context(STYLE)
def cost_front(
    points: Sequence[StudyPoint],
    x_label: str,
    y_label: str,
    *,
    marked: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Draw each setting's mean y, an error, over its mean x, a cost, with bars of ± one sample
    standard deviation.

    Settings are numbered by rising cost, and the legend lists them. Filled ones are on the Pareto
    front, a line: no other is lower in cost or error without being higher in the other. Series of
    `marked`, with which the others are compared, have another colour, and their names are in the
    picture. The cost is logarithmic if all are positive and span more than a factor of 10.

    Raises ValueError if there are no points, one is not finite, or a setting has a seed twice.
    """
    found = [
        (_name(series, setting, len(settings)), series in marked, setting)
        for series, settings in settings_by_series(points).items()
        for setting in settings
    ]
    found.sort(key=lambda each: (each[2].x.mean, each[2].y.mean))
    means = [(setting.x.mean, setting.y.mean) for _, _, setting in found]
    front = pareto_front(means)
    sizes = {setting.y.n for _, _, setting in found}
    figure = Figure(figsize=(WIDTH, _AXES), layout="constrained")
    axes = figure.subplots()
    if needs_log_axis([x for x, _ in means]):
        use_log_axis(axes, [x for x, _ in means])
    axes.plot(*zip(*staircase(means), strict=True), color=INK, linewidth=0.8, label="Pareto front")
    for number, (name, own, setting) in enumerate(found, 1):
        n = f" (n = {setting.y.n})" if len(sizes) > 1 else ""
        _draw(axes, setting, f"{number}: {name}{n}", own, number - 1 in front)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(fit_line(title), loc="left")
    axes.margins(0.08)
    legend_below(figure, axes, columns=4)
    seeds = f" over n = {min(sizes)} seeds" if len(sizes) == 1 else " over n seeds"
    bars = f"; bars: ± one standard deviation{seeds}" if max(sizes) > 1 else ""
    explain_legend(figure, f"Numbered by rising cost; filled: on the front{bars}")
    figure.set_figheight(_AXES + figure.legends[0].get_window_extent().height / figure.dpi)
    texts = [
        (f"{number}: {name}" if own else str(number), point)
        for number, ((name, own, _), point) in enumerate(zip(found, means, strict=True), 1)
    ]
    label_points(figure, axes, texts, [staircase(means), *([point, point] for point in means)])
    return figure


def _name(series: str, setting: Setting, number: int) -> str:
    """Return the series' name; with the setting's label if the series has several."""
    return f"{series}, {setting.label}" if number > 1 else series


def _draw(axes: Axes, setting: Setting, label: str, own: bool, on_front: bool) -> None:
    colour, at = PALETTE[3] if own else PALETTE[0], ([setting.x.mean], [setting.y.mean])
    axes.errorbar(
        *at, xerr=setting.x.std or math.nan, yerr=setting.y.std or math.nan,
        fmt="none", ecolor=GREY, elinewidth=0.6, zorder=1,
    )  # fmt: skip
    axes.plot(
        *at, color=colour, marker="s" if own else "o", linestyle="none", label=label,
        markerfacecolor=colour if on_front else "none",
    )  # fmt: skip
