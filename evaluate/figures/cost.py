"""Figures of cost: that of each stage, and the number of searches at which a subset breaks even."""

from collections.abc import Mapping

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classification.durations import cost_scale, format_cost, format_duration
from evaluate.figures.style import BAND, PALETTE, PANEL_LINE, STYLE, WIDTH, fit_line, legend_below


@rc_context(STYLE)
def cost_bars(
    stages: Mapping[str, float], unit: str, beside: Mapping[str, float] | None = None
) -> Figure:
    """Draw one labelled bar per stage, in the given order, with the total in the title.

    Costs are in hours of `unit`, such as CPU-hours; the axis has the unit of the largest.
    `beside` are drawn as hollow bars below and are not part of the total.
    """
    hours = [*stages.values(), *(beside or {}).values()]
    factor, shown = cost_scale(max(hours), unit)
    figure = Figure(figsize=(WIDTH, 0.8 + 0.24 * len(hours)), layout="constrained")
    axes = figure.subplots()
    lengths = [factor * cost for cost in hours]
    bars = axes.barh(
        [fit_line(name, PANEL_LINE) for name in (*stages, *(beside or {}))],
        lengths,
        color=PALETTE[0],
        height=0.62,
    )
    for bar in bars[len(stages) :]:
        bar.set(facecolor="none", edgecolor=PALETTE[3], linestyle="--", linewidth=1.0)
    axes.bar_label(bars, labels=[format_duration(3600 * cost) for cost in hours], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(shown)
    axes.set_title(f"total {format_cost(sum(stages.values()), unit)}", loc="left")
    return figure


@rc_context(STYLE)
def break_even_lines(before: float, one: float, full: float, searches: int, unit: str) -> Figure:
    """Draw the cost of n searches on the subset, which cost `before` to make, and on all images.

    A search takes `one` hours on the subset and `full` on all images. The shaded range starts at
    `searches`, where the subset breaks even.
    """
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    last = max(3, 2 * searches)
    factor, shown = cost_scale(full * last, unit)
    axes.axvspan(
        searches,
        last,
        color=BAND,
        lw=0,
        label=f"subset cheaper: from {searches} search{'' if searches == 1 else 'es'}",
    )
    for label, start, slope, colour, line in (
        ("on the subset, including its cost", before, one, PALETTE[0], "-"),
        ("on all images", 0.0, full, PALETTE[3], "--"),
    ):
        ends = [factor * start, factor * (start + slope * last)]
        axes.plot([0, last], ends, label=label, color=colour, linestyle=line)
    axes.set(xlim=(0, last), xlabel="searches", ylabel=shown)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("break-even", loc="left")
    legend_below(figure, axes)
    return figure
