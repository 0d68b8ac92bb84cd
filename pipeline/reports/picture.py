"""A figure of a report: files next to report.md, inline SVG in report.html."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from classification.durations import format_cost
from evaluate.figures.cost import break_even_lines, cost_bars
from evaluate.figures.style import save_figure
from evaluate.figures.svg import describe_lines, inline_svg


@dataclass(frozen=True)
class Picture:
    """A figure as inline SVG, and its PNG `file` in the report's folder, next to a PDF."""

    title: str
    file: str
    svg: Markup

    @classmethod
    def save(
        cls, folder: Path, name: str, figure: Figure, title: str, description: str = ""
    ) -> "Picture":
        """Write `figure` into `folder` as PNG and PDF. The `description` defaults to the first and
        last values of its lines."""
        file = save_files(figure, folder, name)
        return cls(title, file, inline(figure, name, title, description))


def save_files(figure: Figure, folder: Path, name: str) -> str:
    """Write `figure` into `folder` as PNG and PDF; return the PNG's name."""
    for suffix in (".png", ".pdf"):
        save_figure(figure, folder / f"{name}{suffix}")
    return f"{name}.png"


def inline(figure: Figure, name: str, title: str, description: str = "") -> Markup:
    """Return `figure` as SVG for a page; `name` must be unique on the page."""
    svg = inline_svg(figure, name, title, description or describe_lines(figure))
    return Markup(svg)


def draw_costs(folder: Path, cost: Mapping[str, Any]) -> list[Picture]:
    """Draw the cost of each stage and, if it is known, the break-even of the subset.

    A stage that ran on CPU and GPU is drawn with the sum of its hours.
    """
    unit = cost["unit"]
    stages = {
        name: sum(hours.values()) if isinstance(hours, dict) else hours
        for name, hours in cost["stages"].items()
    }
    beside = {}
    if "full_search" in cost:
        basis = cost["break_even_basis"].partition(":")[0]
        beside[f"search on all images, {basis}"] = cost["full_search"]
    words = ", ".join(f"{name} {format_cost(n, unit)}" for name, n in (stages | beside).items())
    title = "Cost of each stage"
    bars = Picture.save(folder, "cost", cost_bars(stages, unit, beside), title, f"{words}.")
    searches, alone = cost.get("break_even_searches"), cost.get("search_alone")
    if searches is None or not isinstance(alone, int | float):
        return [bars]
    before, one = cost["total"] - alone, cost.get("one_search", alone)
    figure = break_even_lines(before, one, cost["full_search"], searches, unit)
    words = (
        f"Cost against the number of searches: {format_cost(before, unit)} before the first and "
        f"{format_cost(one, unit)} for each on the subset; "
        f"{format_cost(cost['full_search'], unit)} for each on all images. "
        f"The lines cross within search {searches}."
    )
    return [bars, Picture.save(folder, "break-even", figure, "Break-even", words)]
