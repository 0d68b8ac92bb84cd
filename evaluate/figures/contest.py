"""Held-out error of the contestants against their multiply-adds and latency, with the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluate.figures.labels import label_points
from evaluate.figures.style import (
    GREY,
    INK,
    PALETTE,
    STYLE,
    WIDTH,
    explain_legend,
    fit_line,
    legend_below,
    use_log_axis,
)

# Found, random and published differ in colour and in marker.
_LOOKS: Mapping[str, tuple[str, str]] = {
    "found": (PALETTE[0], "o"),
    "earlier epoch": (PALETTE[5], "D"),
    "random": (GREY, "x"),
    "published": (PALETTE[3], "s"),
}


_SPREAD = 4.0  # of the costs; from it, those of small and large networks need a log axis


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
def contest_front(
    candidates: Sequence[Candidate], winners: Sequence[int], device: str, rounds: int = 1
) -> Figure:
    """Draw the error against multiply-adds and, if all latencies are known, against latency.

    A line is the Pareto front of each panel; a ring marks each winner, of several those of the
    budgets in their order. Networks on a front and winners have a number, and their names are
    listed below. `device` is where the latencies were measured; the last of `rounds` chose the
    winners.
    """
    latencies = [each.latency for each in candidates if each.latency is not None]
    axes_of = {
        "multiply-adds of convolutions and classifier (M)": [
            each.multiply_adds / 1e6 for each in candidates
        ]
    }
    if len(latencies) == len(candidates):
        axes_of[f"latency of one image (ms), {device}"] = latencies
    fronts = {label: pareto_front(_points(candidates, costs)) for label, costs in axes_of.items()}
    named = sorted(
        {*chain(*fronts.values()), *winners}, key=lambda index: candidates[index].multiply_adds
    )
    figure = Figure(figsize=(WIDTH, 2.4 * len(axes_of) + 1.0), layout="constrained")
    panels = list(figure.subplots(len(axes_of), 1, squeeze=False).flatten())
    for axes, (label, costs) in zip(panels, axes_of.items(), strict=True):
        _draw(axes, candidates, costs, winners, "" if rounds == 1 else ", by the last round")
        axes.set(xlabel=fit_line(label), ylabel="held-out error (%)")
        axes.margins(0.08)
        if min(costs) > 0 and max(costs) / min(costs) > _SPREAD:
            use_log_axis(axes, costs)
    panels[0].set_title("Held-out error after the first round, equal training", loc="left")
    legend_below(figure, *panels, columns=3)
    names = [_name(candidates[index].name, index, winners) for index in named]
    listed = "; ".join(f"{number}:\N{NO-BREAK SPACE}{name}" for number, name in enumerate(names, 1))
    explain_legend(figure, listed)
    for axes, (label, costs) in zip(panels, axes_of.items(), strict=True):
        points = _points(candidates, costs)
        texts = [
            (str(number), points[index])
            for number, index in enumerate(named, 1)
            if index in fronts[label] or index in winners
        ]
        label_points(figure, axes, texts, [staircase(points), *([p, p] for p in points)])
    return figure


def _name(name: str, index: int, winners: Sequence[int]) -> str:
    """Return the name of a network; that of a budget's winner says so."""
    own = [str(number) for number, winner in enumerate(winners, 1) if winner == index]
    if len(winners) == 1 or not own:
        return name
    return f"{name} (winner of budget{'' if len(own) == 1 else 's'} {', '.join(own)})"


def _points(candidates: Sequence[Candidate], costs: Sequence[float]) -> list[tuple[float, float]]:
    return [(cost, each.error) for cost, each in zip(costs, candidates, strict=True)]


def _draw(
    axes: Axes,
    candidates: Sequence[Candidate],
    costs: Sequence[float],
    winners: Sequence[int],
    chosen: str,
) -> None:
    points = _points(candidates, costs)
    line = zip(*staircase(points), strict=True)
    axes.plot(*line, color=INK, linewidth=0.8, label="Pareto front")
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
        markersize=8,
        markeredgewidth=0.8,
        markerfacecolor="none",
        linestyle="none",
        label=("winner" if len(winners) == 1 else "winner of a budget") + chosen,
    )


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the line below which no network is: the lowest error at or below each cost."""
    front = [points[index] for index in pareto_front(points)]
    steps = [(after[0], before[1]) for before, after in pairwise(front)]
    corners = [corner for pair in zip(front, [*steps, None], strict=True) for corner in pair]
    last = max(points)[0], front[-1][1]
    return [*(corner for corner in corners if corner is not None), last]
