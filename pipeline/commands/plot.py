"""The `plot` command."""

from pathlib import Path
from typing import Annotated

import typer

from classification.errors import ConfigError
from pipeline.commands.options import Picture, RunNames, Runs
from pipeline.run_folder import RESULTS, RunFolder


def plot(
    names: RunNames,
    output: Picture,
    x: Annotated[
        str, typer.Option(metavar="search|total", help="the cost on the x axis")
    ] = "search",
    runs: Runs = Path("runs"),
) -> None:
    """Plot accuracy against GPU-hours over runs.

    One curve per series, error bars over seeds.

    \b
    Example:
      python run_pipeline.py plot quickstart quickstart-1 -o accuracy.png --x total
    """
    from evaluate.figures.study import curves, scale_costs  # slow to import: matplotlib
    from evaluate.figures.style import check_figure_path, needs_log_axis, save_figure
    from pipeline.reports.cost_point import cost_point, read_results

    if x not in ("search", "total"):
        raise ConfigError(f"--x: found {x!r}; allowed: search, total")
    check_figure_path(output)
    results = [read_results(RunFolder.open(runs, name).report / RESULTS) for name in names]
    units = {result["cost"]["unit"] for result in results}
    if len(units) > 1:
        raise ConfigError(
            f"RUN: found {' and '.join(sorted(units))}, which have no common axis; "
            "allowed: runs on one kind of device"
        )
    what = "search alone" if x == "search" else "scorer + scores + subset + search"
    points = [cost_point(result, x, number) for number, result in enumerate(results)]
    unit, (points,) = scale_costs(units.pop(), points)
    figure = curves(
        points,
        f"{unit}, {what}",
        "top-1 accuracy (%)",
        title="One run gives one point, which shows no spread" if len(results) == 1 else "",
        log_x=needs_log_axis([point.x for point in points]),
        direct_labels=True,
    )
    save_figure(figure, output)
    print(output)
