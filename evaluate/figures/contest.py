"""Held-out error of the contestants against their multiply-adds and latency, with the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluate.figures.labels import label_points
from evaluate.figures.style import GREY, INK, PALETTE, STYLE, WIDTH, legend_below

# Found, random and published differ in colour and in marker.
_LOOKS: Mapping[str, tuple[str, str]] = {
    "found": (PALETTE[0], "o"),
    "earlier epoch": (PALETTE[5], "D"),
    "random": (GREY, "x"),
    "published": (PALETTE[3], "s"),
}


@dataclass(frozen=True)
class Candidate:
    """A network: its held-out error in percent, multiply-adds of an image, latency in ms."""

    name: str
    kind: str
    error: float
    multiply_adds: int
    latency: float | None
    """Of one image; None if not measured."""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, error) that no other point dominates, by rising cost.

    A point dominates another if it is lower in one value and not higher in the other. Of equal
    points the first is returned.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


@rc_context(STYLE)
def contest_front(candidates: Sequence[Candidate], winners: Sequence[int], device: str) -> Figure:
    """Draw the error against multiply-adds and, if all latencies are known, against latency.

    A line is the Pareto front of each panel, whose networks are named; a ring marks each winner.
    `device` is where the latencies were measured.
    """
    latencies = [each.latency for each in candidates if each.latency is not None]
    axes_of = {
        "multiply-adds of convolutions and classifier (M)": [
            each.multiply_adds / 1e6 for each in candidates
        ]
    }
    if len(latencies) == len(candidates):
        axes_of[f"latency of one image (ms), {device}"] = latencies
    figure = Figure(figsize=(WIDTH, 3.4 * len(axes_of) + 0.6), layout="constrained")
    panels = list(figure.subplots(len(axes_of), 1, squeeze=False).flatten())
    for axes, (label, costs) in zip(panels, axes_of.items(), strict=True):
        _draw(axes, candidates, costs, winners)
        axes.set(xlabel=label, ylabel="held-out error (%)")
        axes.margins(0.08)
    panels[0].set_title("Held-out error after the first round, equal training", loc="left")
    legend_below(figure, *panels, columns=6)
    for axes, costs in zip(panels, axes_of.values(), strict=True):
        points = [(cost, each.error) for cost, each in zip(costs, candidates, strict=True)]
        named = [(candidates[index].name, points[index]) for index in pareto_front(points)]
        label_points(figure, axes, named, [_staircase(points), *([p, p] for p in points)])
    return figure


def _draw(
    axes: Axes, candidates: Sequence[Candidate], costs: Sequence[float], winners: Sequence[int]
) -> None:
    points = [(cost, each.error) for cost, each in zip(costs, candidates, strict=True)]
    line = zip(*_staircase(points), strict=True)
    axes.plot(*line, color=INK, linewidth=1.0, label="Pareto front")
    for kind, (colour, marker) in _LOOKS.items():
        own = [p for p, each in zip(points, candidates, strict=True) if each.kind == kind]
        if own:
            axes.plot(
                *zip(*own, strict=True),
                color=colour,
                marker=marker,
                linestyle="none",
                label=f"{kind} (n = {len(own)})",
            )
    axes.plot(
        *zip(*(points[winner] for winner in winners), strict=True),
        color=INK,
        marker="o",
        markersize=13,
        markerfacecolor="none",
        linestyle="none",
        label="winner" if len(winners) == 1 else "winner of a budget",
    )


def _staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the line below which no network is: the lowest error at or below each cost."""
    front = [points[index] for index in pareto_front(points)]
    steps = [(after[0], before[1]) for before, after in pairwise(front)]
    corners = [corner for pair in zip(front, [*steps, None], strict=True) for corner in pair]
    last = max(points)[0], front[-1][1]
    return [*(corner for corner in corners if corner is not None), last]
