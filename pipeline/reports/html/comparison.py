"""Runs that searched, side by side on one page: accuracy, hours, cells, settings that differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classification.errors import ArtifactError, ConfigError
from pcdarts.genotype import Genotype
from pipeline.config import flatten
from pipeline.reports.html.cell_picture import cell_pictures
from pipeline.reports.html.chart import Chart, Series, line_chart
from pipeline.reports.html.page import is_page, write_html
from pipeline.reports.parts import show_hours
from pipeline.reports.results import SERIES, cost_point, read_results
from pipeline.run_folder import RESULTS, RunFolder

COMPARISON = "comparison.html"
_AXES = {"search": "search alone", "total": "search and all that went before it"}
_NAMES = frozenset({"name"})  # keys in which runs always differ


def check_output(path: Path, overwrite: bool) -> None:
    """Raise ConfigError unless a page can be written under this name without loss."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output: found {path}; allowed: a file that ends in .html")
    if path.is_dir():
        raise ConfigError(f"--output: {path} is a folder; allowed: the name of a file")
    if path.exists() and not overwrite and not is_page(path):
        raise ConfigError(
            f"--output: {path} is there and not a page of ours; allowed: another name, or "
            "--overwrite"
        )


def write_comparison(path: Path, runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Write the page, from the results.json of each run and its config; return those results.

    Raises ArtifactError if a run has no results yet, ConfigError if one searched for nothing.
    """
    results = [read_results(run.report / RESULTS) for run in runs]
    values = {
        "names": [result["name"] for result in results],
        "rows": [(title, [show(result) for result in results]) for title, show in _ROWS.items()],
        "charts": _charts(results),
        "settings": _differences([run.config().model_dump(mode="json") for run in runs]),
        "cells": [_cells(run, result) for run, result in zip(runs, results, strict=True)],
    }
    write_html(path, "comparison.html.j2", values)
    return results


def _cells(run: RunFolder, result: Mapping[str, Any]) -> tuple[str, list[Any]]:
    where = f"{run.report / RESULTS}: genotype"
    if "genotype" not in result:
        raise ArtifactError(f"{where}: not there; python run_pipeline.py report writes it again")
    return result["name"], cell_pictures(Genotype.from_dict(result["genotype"], where))


def _charts(results: Sequence[dict[str, Any]]) -> list[Chart]:
    """Accuracy against either cost; a pair for GPU-hours and one for CPU-hours."""
    charts = []
    for unit in dict.fromkeys(result["cost"]["unit"] for result in results):
        for axis, what in _AXES.items():
            points = [
                (str(number), cost_point(result, axis))
                for number, result in enumerate(results, 1)
                if result["cost"]["unit"] == unit
            ]
            kinds = list(dict.fromkeys(point.series for _, point in points))
            series = [
                Series(
                    kind,
                    [(p.x, p.accuracy) for _, p in points if p.series == kind],
                    slot,
                    marked=True,
                    notes=[number for number, p in points if p.series == kind],
                )
                for slot, kind in enumerate(kinds)
            ]
            words = "; ".join(
                f"run {number}, {p.series}: {p.accuracy:.2f} % for {show_hours(p.x)}"
                for number, p in points
            )
            alt = f"Top-1 accuracy against {unit}, {what}. {words}."
            title = f"Accuracy against {unit}: {what}"
            labels = (unit, "top-1 accuracy (%)")
            charts.append(line_chart(title, alt, labels, series, whole_x=False, any_scale=True))
    return charts


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Keys whose values differ between configs, and each config's value."""
    flat = [{k: str(v) for k, v in flatten(config).items()} for config in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key, "–") for each in flat] for key in keys if key not in _NAMES}
    return [(key, row) for key, row in values.items() if len(set(row)) > 1]


def _break_even(result: Mapping[str, Any]) -> str:
    searches = result["cost"].get("break_even_searches")
    return "none" if searches is None else f"after {searches}"


_ROWS: dict[str, Any] = {
    "subset": lambda r: SERIES.get(r["subset"]["measure"], r["subset"]["measure"]),
    "fraction t": lambda r: f"{r['subset']['fraction']:g}",
    "images searched on": lambda r: f"{r['subset']['size']:,}",
    "top-1 error, last epoch (%)": lambda r: f"{r['accuracy']['top1_error_last']:.2f}",
    "top-1 error, best epoch (%)": lambda r: f"{r['accuracy']['top1_error_best']:.2f}",
    "top-5 error, last epoch (%)": lambda r: f"{r['accuracy']['top5_error_last']:.2f}",
    "parameters": lambda r: f"{r['network']['parameters']:,}",
    "multiply-adds": lambda r: f"{r['network']['multiply_adds']:,}",
    "search alone": lambda r: f"{show_hours(r['cost']['search_alone'])} {r['cost']['unit']}",
    "search and all before it": lambda r: f"{show_hours(r['cost']['total'])} {r['cost']['unit']}",
    "break-even (searches)": _break_even,
    "device": lambda r: r["device"],
    "seed": lambda r: str(r["seed"]),
}
