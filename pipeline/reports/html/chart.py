"""Charts as geometry, which `figures.html.j2` prints as SVG.

They are no pictures of matplotlib's because they take the page's colours, light or dark, and its
text, which stays legible on a phone; and because a dozen of them take no time. Ticks are
matplotlib's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.ticker import LogLocator, MaxNLocator

WIDTH, HEIGHT = 400, 250  # pixels at the size at which the text is 12 px
LEFT, RIGHT, TOP, BOTTOM = 52.0, 388.0, 26.0, 212.0
_LOG_RANGE = 10.0  # costs that differ by more are shown on a logarithmic axis
_HEADROOM = 0.06


@dataclass(frozen=True)
class Series:
    """A named line, or points where `marked`; `slot` is its colour, `notes` a label a point."""

    name: str
    points: Sequence[tuple[float, float]]
    slot: int
    dashed: bool = False
    marked: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Path:
    """A series in pixels."""

    name: str
    slot: int
    dashed: bool
    line: str
    dots: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Bar:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Axis:
    """Values to pixels."""

    low: float
    high: float
    first: float
    last: float
    logarithmic: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (self._bent(each) for each in (self.low, self.high, value))
        return round(self.first + (self.last - self.first) * (value - low) / (high - low), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """(pixel, label)."""
        locator = (
            LogLocator(subs=(1, 2, 5))
            if self.logarithmic
            else MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=self.whole, min_n_ticks=1)
        )
        values = locator.tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        kept = [float(v) for v in values if self.low - slack <= v <= self.high + slack]
        return [(self(value), f"{round(value, 9):g}") for value in kept]

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


@dataclass(frozen=True)
class Chart:
    """What is drawn. `alt` says it in words; `band` is a shaded span of x, `rule` a level of y."""

    title: str
    alt: str
    x_label: str
    y_label: str
    x: Axis
    y: Axis
    paths: Sequence[Path] = ()
    bars: Sequence[Bar] = ()
    band: tuple[float, float] | None = None
    band_name: str = ""
    rule: float | None = None
    legend: Sequence[tuple[str, str]] = field(default=())
    """(name, kind of swatch)."""
    width: int = WIDTH
    height: int = HEIGHT


def line_chart(
    title: str,
    alt: str,
    labels: tuple[str, str],
    series: Sequence[Series],
    *,
    band: tuple[float, float] | None = None,
    band_name: str = "",
    rule: float | None = None,
    y_range: tuple[float, float] | None = None,
    whole_x: bool = True,
    any_scale: bool = False,
) -> Chart:
    """Series over a common x axis; `labels` name the x and the y axis.

    `any_scale` allows x a logarithmic axis where its values span more than a factor of 10. Points
    that are not finite are left out.
    """
    finite = [[p for p in each.points if all(map(math.isfinite, p))] for each in series]
    xs = [x for points in finite for x, _ in points] or [0.0]
    ys = [y for points in finite for _, y in points] or [0.0]
    logarithmic = any_scale and min(xs) > 0 and max(xs) / min(xs) > _LOG_RANGE
    x = Axis(*_span(xs, any_scale, logarithmic), LEFT, RIGHT, logarithmic, whole_x)
    y = Axis(*(y_range or _padded(ys)), BOTTOM, TOP)
    paths = [
        Path(
            each.name,
            each.slot,
            each.dashed,
            "" if each.marked else " ".join(f"{x(a)},{y(b)}" for a, b in points),
            [
                (x(a), y(b), note)
                for (a, b), note in zip(points, each.notes or [""] * len(points), strict=True)
            ]
            if each.marked or len(points) == 1  # a line through one point would not be seen
            else [],
        )
        for each, points in zip(series, finite, strict=True)
    ]
    legend = [
        (each.name, f"{'dot' if each.marked else 'dash' if each.dashed else 'line'} s{each.slot}")
        for each in series
    ]
    if band is not None:
        band = (x(max(band[0], x.low)), x(min(band[1], x.high)))
        legend.append((band_name, "band"))
    level = None if rule is None else y(rule)
    return Chart(title, alt, *labels, x, y, paths, (), band, band_name, level, legend)


def histogram(
    title: str,
    alt: str,
    labels: tuple[str, str],
    edges: Sequence[float],
    counts: Sequence[tuple[str, str, Sequence[int]]],
    band: tuple[float, float] | None = None,
    band_name: str = "",
) -> Chart:
    """Bars over bins, one behind the other; `counts` are (name, kind, counts) in that order."""
    highest = max(max(each) for _, _, each in counts)
    x = Axis(edges[0], edges[-1], LEFT, RIGHT)
    y = Axis(0, highest * (1 + _HEADROOM), BOTTOM, TOP, whole=True)
    bars = [
        Bar(x(a) + 0.5, y(n), round(max(x(b) - x(a) - 1, 0.5), 1), round(BOTTOM - y(n), 1), kind)
        for _, kind, each in counts
        for a, b, n in zip(edges[:-1], edges[1:], each, strict=True)
        if n
    ]
    legend = [(name, kind) for name, kind, _ in counts]
    shaded = None
    if band is not None:
        # Never thinner than can be seen.
        middle, half = (x(band[0]) + x(band[1])) / 2, max(x(band[1]) - x(band[0]), 2) / 2
        shaded = (round(middle - half, 1), round(middle + half, 1))
        legend.append((band_name, "cut"))
    return Chart(title, alt, *labels, x, y, (), bars, shaded, band_name, None, legend)


def _span(values: Sequence[float], loose: bool, logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return low / 1.25, high * 1.25
    if loose:
        room = (high - low) * 0.08 or abs(high) * 0.5 or 1
        return max(0.0, low - room), high + room
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * _HEADROOM or abs(high) * 0.1 or 1
    return low - room, high + room
