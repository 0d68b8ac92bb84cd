"""Figures of a study: errors and costs of its series over the grid of settings."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classification.durations import cost_scale
from evaluate.figures.dodging import dodge
from evaluate.figures.labels import label_points
from evaluate.figures.style import (
    PALETTE,
    PANEL_LINE,
    PAPER,
    STYLE,
    TEXT,
    WIDTH,
    explain_legend,
    fit_line,
    legend_below,
    needs_log_axis,
    use_log_axis,
)
from evaluate.statistics import Summary, summarise_seeds

SEARCH_ALONE = "search alone"
TOTAL = "scorer + scores + subset + search"

_STYLE = STYLE | {"legend.handlelength": 3.0}  # long enough for a dash on both sides of a marker
_MARKERS = "osD^vPX*"
_LINES = ("-", "--", ":", "-.")
_FILLS: tuple[Any, ...] = ("full", "none", "left", "bottom")
_CHARACTER = 0.058  # inches, of the legend's font, on the wide side
_HANDLE = 0.52  # inches, of a legend entry without its name
_LEGEND_ROW = 0.15  # inches
_LONGEST_NAME = 52  # characters per line of a name in the legend


@dataclass(frozen=True)
class StudyPoint:
    """One run. Points of a series with the same label, or without labels the same x, are one
    setting."""

    series: str
    x: float
    y: float
    seed: int
    label: str = ""


@dataclass(frozen=True)
class Setting:
    """The points of a setting, summarised over its seeds."""

    label: str
    x: Summary
    y: Summary
    drawn_x: float  # the mean of x, or beside it where bars of other series have the same x


@rc_context(_STYLE)
def curves(
    points: Sequence[StudyPoint],
    x_label: str,
    y_label: str,
    *,
    title: str = "",
    log_x: bool = False,
    x_ticks: Sequence[float] | None = None,
    direct_labels: bool = False,
) -> Figure:
    """Draw one curve per series, in the given order, with one marker per setting.

    A marker is the mean over the setting's seeds; bars are ± one sample standard deviation of y
    and, if the seeds' x differ, of x. Settings with bars at the same x are drawn next to each other
    around it. A series of one setting has no line. The legend gives the number of seeds.
    `direct_labels` writes each setting's label next to its marker, or the name of the series at the
    end of a curve without labels.

    Raises ValueError if there are no points, if one is not finite, if x ≤ 0 on a logarithmic axis,
    or if a seed occurs twice in a setting.
    """
    series = settings_by_series(points)
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    if log_x and min(point.x for point in points) <= 0:
        raise ValueError("x of 0 or less on a logarithmic axis; allowed: above 0")
    _scale_x(axes, [point.x for point in points], log_x, x_ticks)
    series = _dodged(axes, series, [point.x for point in points])
    _draw(axes, series, _styles(series))
    axes.margins(x=0.06)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(fit_line(title), loc="left")
    _add_legend(figure, axes)
    if direct_labels:
        _label_directly(figure, axes, series)
    return figure


def scale_costs(unit: str, *groups: Sequence[StudyPoint]) -> tuple[str, list[list[StudyPoint]]]:
    """Convert points over hours of `unit` to the unit in which the largest cost is shown."""
    factor, shown = cost_scale(max((p.x for points in groups for p in points), default=0.0), unit)
    return shown, [[replace(p, x=factor * p.x) for p in points] for points in groups]


@rc_context(_STYLE)
def two_cost_axes(
    points_search: Sequence[StudyPoint],
    points_total: Sequence[StudyPoint],
    unit: str,
    y_label: str,
    *,
    joined: bool = True,
) -> Figure:
    """Draw the same y against two costs in `unit`: the search alone (left) and all stages up to the
    genotype (right).

    Colours and lines tell the series, markers the settings by their labels; the legend names both.
    Without `joined`, no line connects the settings of a series, and the labels, which must be
    short, are written next to the markers. Bars are those of `curves`. Both panels have the same
    axes, with a logarithmic cost if all costs are positive and span more than a factor of 10.
    Raises ValueError if either has no points, or as `curves`.
    """
    panels = {SEARCH_ALONE: points_search, TOTAL: points_total}
    found = {name: settings_by_series(points) for name, points in panels.items()}
    costs = [point.x for points in panels.values() for point in points]
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    both = figure.subplots(1, 2, sharex=True, sharey=True)
    styles = _styles({name: None for series in found.values() for name in series})
    markers: dict[str, dict[str, Any]] = {}
    if joined:
        markers = _setting_styles(point.label for points in panels.values() for point in points)
    _scale_x(both[0], costs, needs_log_axis(costs), None)
    for axes, (name, series) in zip(both, found.items(), strict=True):
        found[name] = _dodged(axes, series, costs)
        _draw(axes, found[name], styles, markers, joined)
        axes.margins(x=0.1)
        axes.set_xlabel(unit)
        axes.set_title(fit_line(name, PANEL_LINE))
    both[0].set_ylabel(y_label)
    for label, style in markers.items():
        both[1].plot([], [], linestyle="", color=TEXT, label=label, **style)
    _add_legend(figure, *both)
    if not joined:
        for axes, series in zip(both, found.values(), strict=True):
            _label_directly(figure, axes, series, names=False)
    return figure


def settings_by_series(points: Sequence[StudyPoint]) -> dict[str, list[Setting]]:
    """Return the settings of each series, sorted by mean x, with the series in the given order."""
    if not points:
        raise ValueError("no points to draw; allowed: at least 1")
    groups: dict[str, dict[str | float, list[StudyPoint]]] = {}
    for point in points:
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(f"{point}: not finite")
        group = groups.setdefault(point.series, {}).setdefault(point.label or point.x, [])
        if point.seed in (other.seed for other in group):
            raise ValueError(f"{point}: another point of this setting has the same seed")
        group.append(point)
    return {
        series: sorted(map(_summarise, settings.values()), key=lambda setting: setting.x.mean)
        for series, settings in groups.items()
    }


def _summarise(seeds: Sequence[StudyPoint]) -> Setting:
    x, y = (summarise_seeds([getattr(point, axis) for point in seeds]) for axis in "xy")
    return Setting(seeds[0].label, x, y, x.mean)


def _dodged(
    axes: Axes, series: Mapping[str, Sequence[Setting]], values: Sequence[float]
) -> dict[str, list[Setting]]:
    """Place settings with bars next to each other where they have the same x. `values` are all that
    the axis shows.
    """
    barred = [s for settings in series.values() for s in settings if s.y.std is not None]
    places: Iterable[float] = dodge(axes, [s.x.mean for s in barred], values) if barred else []
    moved = {id(s): replace(s, drawn_x=float(x)) for s, x in zip(barred, places, strict=True)}
    return {name: [moved.get(id(s), s) for s in settings] for name, settings in series.items()}


def _setting_styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return a marker for each label, in the given order; up to 32 labels differ."""
    styles = {}
    for index, label in enumerate(dict.fromkeys(label for label in labels if label)):
        again, place = divmod(index, len(_MARKERS))
        styles[label] = {"marker": _MARKERS[place], "fillstyle": _FILLS[again % len(_FILLS)]}
    return styles


def _styles(series: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a style for each series. Beyond the palette, markers are hollow, lines change, and
    colours pair with other markers, so that up to 32 series differ even without lines.
    """
    styles = {}
    for index, name in enumerate(series):
        again, place = divmod(index, len(PALETTE))
        colour = PALETTE[place]
        styles[name] = {
            "color": colour,
            "marker": _MARKERS[(place + 3 * again) % len(_MARKERS)],
            "linestyle": _LINES[again % len(_LINES)],
            "markerfacecolor": PAPER if again % 2 else colour,
        }
    return styles


def _scale_x(axes: Axes, values: Sequence[float], log: bool, ticks: Sequence[float] | None) -> None:
    """Set the scale before drawing, because the limits depend on it."""
    if log:
        use_log_axis(axes, values)
    if ticks is not None:
        axes.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()


def _draw(
    axes: Axes,
    series: Mapping[str, Sequence[Setting]],
    styles: Mapping[str, dict[str, Any]],
    markers: Mapping[str, dict[str, Any]] | None = None,
    joined: bool = True,
) -> None:
    """Draw lines, markers and bars. `markers` gives each setting's marker by its label; without it,
    all settings of a series have the series' marker.
    """
    for name, settings in series.items():
        style = styles[name] | ({} if joined and len(settings) > 1 else {"linestyle": ""})
        x = [setting.drawn_x for setting in settings]
        y = [setting.y.mean for setting in settings]
        label = textwrap.fill(f"{name} ({_seeds(settings)})", _LONGEST_NAME)
        if markers:
            line = {"color": style["color"], "linestyle": styles[name]["linestyle"]}
            axes.plot(x, y, label=label, **line)
            for setting in settings:
                own = markers.get(setting.label, {"marker": _MARKERS[0]})
                at = [setting.drawn_x], [setting.y.mean]
                axes.plot(*at, color=style["color"], markerfacecoloralt=PAPER, **own)
        else:
            axes.plot(x, y, label=label, **style)
        axes.errorbar(
            *(x, y),
            # NaN draws no bar: for a single seed, and for seeds with the same x.
            xerr=[setting.x.std or math.nan for setting in settings],
            yerr=[math.nan if setting.y.std is None else setting.y.std for setting in settings],
            fmt="none",  # drawn separately from the line, to keep bars out of the legend
            ecolor=style["color"],
            capsize=2,
            elinewidth=0.8,
            capthick=0.8,
        )


def _seeds(settings: Sequence[Setting]) -> str:
    low, high = (pick(setting.y.n for setting in settings) for pick in (min, max))
    return f"n = {low}" if low == high else f"n = {low}–{high}"


def _add_legend(figure: Figure, *panels: Axes) -> None:
    """Add a legend in as many columns as fit, and increase the height of the figure."""
    names = {str(name) for axes in panels for name in axes.get_legend_handles_labels()[1]}
    widest = max(len(line) for name in names for line in name.splitlines())
    columns = max(1, int((WIDTH - 0.1) / (_HANDLE + _CHARACTER * widest)))
    rows = math.ceil(len(names) / columns)
    lines = rows * max(name.count("\n") + 1 for name in names)
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * (lines + 1))
    legend_below(figure, *panels, columns=columns)
    several = any(not name.endswith("(n = 1)") for name in names)
    if several:
        explain_legend(figure, "mean ± one standard deviation over n seeds")


def _label_directly(
    figure: Figure, axes: Axes, series: Mapping[str, Sequence[Setting]], names: bool = True
) -> None:
    """Write the settings' labels next to their markers, or a series' name next to its last."""
    texts, lines = [], []
    for name, settings in series.items():
        means = [(setting.drawn_x, setting.y.mean) for setting in settings]
        found = [(s.label, mean) for s, mean in zip(settings, means, strict=True) if s.label]
        if not found and names:
            found = [(name, means[-1])]
            axes.margins(x=0.12)
        texts += found
        lines.append(means)
        for (x, y), setting in zip(means, settings, strict=True):
            lines += [[(x, y - setting.y.std), (x, y + setting.y.std)]] if setting.y.std else []
    label_points(figure, axes, texts, lines)
