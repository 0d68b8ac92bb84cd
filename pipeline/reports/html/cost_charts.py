"""Charts of cost: hours a stage, and when the subset has paid for itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.reports.html.chart import Chart, Series, line_chart
from pipeline.store.ledger import format_hours

_SHARE_SHOWN = 0.004  # of the longest bar, so that a bar is seen at all


@dataclass(frozen=True)
class Bars:
    """Horizontal bars: (name, share of the longest, figure, kind) each."""

    title: str
    alt: str
    rows: list[tuple[str, float, str, str]]


def stage_bars(cost: Mapping[str, Any]) -> Bars:
    """A bar a stage; and one for the search on all images, where that is known."""
    stages = {name: _sum(hours) for name, hours in cost["stages"].items()}
    shown = [(name, hours, name) for name, hours in stages.items()]
    if "full_search" in cost:
        basis = cost["break_even_basis"].partition(":")[0]
        shown.append((f"search on all images, {basis}", cost["full_search"], "beside"))
    longest = max(hours for _, hours, _ in shown) or 1.0
    figures = ", ".join(f"{name} {format_hours(hours)}" for name, hours, _ in shown)
    rows = [
        (name, round(max(hours / longest, _SHARE_SHOWN), 4), format_hours(hours), kind)
        for name, hours, kind in shown
    ]
    return Bars(
        f"{cost['unit']} a stage", f"Cost of each stage in {cost['unit']}: {figures}.", rows
    )


def break_even_chart(cost: Mapping[str, Any]) -> Chart | None:
    """What n searches cost with the subset and without; None if it never pays."""
    searches = cost.get("break_even_searches")
    if searches is None or not isinstance(cost["search_alone"], int | float):
        return None
    one, full, unit = cost["search_alone"], cost["full_search"], cost["unit"]
    before = cost["total"] - one
    last = max(3, 2 * searches)
    ends = (0, last)
    alt = (
        f"Hours against number of searches: {format_hours(before)} {unit} before the first search "
        f"and {format_hours(one)} for each on the subset; {format_hours(full)} for each on all "
        f"images. The lines cross within search {searches}."
    )
    return line_chart(
        "Break-even",
        alt,
        ("searches", unit),
        [
            Series("on the subset, with what it cost", [(n, before + one * n) for n in ends], 0),
            Series("on all images", [(n, full * n) for n in ends], 3, dashed=True),
        ],
        band=(searches, last),
        band_name=f"the subset has paid: from {searches} on",
        y_range=(0, max(before + one * last, full * last) * 1.05),
    )


def _sum(hours: float | Mapping[str, float]) -> float:
    return float(sum(hours.values()) if isinstance(hours, Mapping) else hours)
