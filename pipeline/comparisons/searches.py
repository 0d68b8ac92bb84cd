"""A page that compares runs that searched: accuracy, hours, cells, differing settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from classification.durations import format_cost
from classification.errors import ArtifactError, ConfigError
from evaluate.figures.study import scale_costs, two_cost_axes
from pcdarts.drawing import describe_genotype, draw_genotype
from pcdarts.genotype import Genotype
from pipeline.config import flatten
from pipeline.reports.cost_point import cost_point, read_results
from pipeline.reports.page import is_page, show_cost, write_html
from pipeline.reports.picture import inline
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import RESULTS, RunFolder

COMPARISON = "comparison.html"
_NOTHING = "–"
_NAMES = frozenset({"name"})  # keys in which runs always differ


def check_output(path: Path, overwrite: bool) -> None:
    """Raise ConfigError if a page cannot be written here, or would replace another file."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output: found {path}; allowed: a file that ends in .html")
    if path.is_dir():
        raise ConfigError(f"--output: {path} is a folder; allowed: the name of a file")
    if path.exists() and not overwrite and not is_page(path):
        raise ConfigError(
            f"--output: {path} exists and is not a report page; choose another name, or add "
            "--overwrite"
        )


def write_comparison(path: Path, runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Write the page from each run's results.json and config; return the results.

    Raises ArtifactError if a run has no results yet, ConfigError if one did not search.
    """
    results = [read_results(run.report / RESULTS) for run in runs]
    values = {
        "names": [result["name"] for result in results],
        "rows": [
            (title, values)
            for title, show in _ROWS.items()
            if set(values := [show(result) for result in results]) != {_NOTHING}
        ],
        "charts": _charts(results),
        "settings": _differences([run.config().model_dump(mode="json") for run in runs]),
        "cells": [
            _cells(number, run, result)
            for number, (run, result) in enumerate(zip(runs, results, strict=True), 1)
        ],
    }
    write_html(path, "comparison.html.j2", values)
    return results


def _cells(number: int, run: RunFolder, result: Mapping[str, Any]) -> tuple[str, Markup]:
    where = f"{run.report / RESULTS}: genotype"
    if "genotype" not in result:
        raise ArtifactError(f"{where}: missing; python run_pipeline.py report writes it again")
    genotype = Genotype.from_dict(result["genotype"], where)
    title = f"{number} · {result['name']}"
    figure, words = draw_genotype(genotype), describe_genotype(genotype)
    return title, inline(figure, f"cells-{number}", title, words)


def _charts(results: Sequence[dict[str, Any]]) -> list[tuple[str, Markup]]:
    """Draw accuracy against both costs, with one figure for GPU-hours and one for CPU-hours."""
    charts = []
    for unit in dict.fromkeys(result["cost"]["unit"] for result in results):
        numbered = [(n, r) for n, r in enumerate(results, 1) if r["cost"]["unit"] == unit]
        alone, total = (
            [replace(cost_point(r, axis, n), label=str(n)) for n, r in numbered]
            for axis in ("search", "total")
        )
        shown, (left, right) = scale_costs(unit, alone, total)
        figure = two_cost_axes(left, right, shown, "top-1 accuracy (%)", joined=False)
        words = "; ".join(
            f"run {a.label}, {a.series}: {a.y:.2f} % for {format_cost(a.x, unit)}, with all "
            f"earlier stages for {format_cost(b.x, unit)}"
            for a, b in zip(alone, total, strict=True)
        )
        title = f"Top-1 accuracy against {unit}"
        charts.append((title, inline(figure, f"cost-{unit.lower()}", title, f"{words}.")))
    return charts


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the keys whose values differ between configs, and each config's value."""
    flat = [{k: str(v) for k, v in flatten(config).items()} for config in configs]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key, _NOTHING) for each in flat] for key in keys if key not in _NAMES}
    return [(key, row) for key, row in values.items() if len(set(row)) > 1]


def _break_even(result: Mapping[str, Any]) -> str:
    searches = result["cost"].get("break_even_searches")
    return "none" if searches is None else f"after {searches}"


def _contest(result: Mapping[str, Any]) -> str:
    hours = result["cost"].get("contest")
    return _NOTHING if hours is None else show_cost(hours, result["cost"]["unit"])


def _improvement(result: Mapping[str, Any]) -> str:
    found = result.get("contest", {}).get("relative_improvement")
    if found is None:
        return _NOTHING
    value, low, high = (
        None if each is None else f"{100 * each:+.1f}"
        for each in (found["value"], found["low"], found["high"])
    )
    return f"{value}" if low is None else f"{value} [{low}, {high}]"


_ROWS: dict[str, Any] = {
    "subset": lambda r: name_subset(
        r["subset"]["measure"], r["subset"].get("order", "deterministic")
    ),
    "fraction t": lambda r: f"{r['subset']['fraction']:g}",
    "images searched on": lambda r: f"{r['subset']['size']:,}",
    "top-1 error, last epoch (%)": lambda r: f"{r['accuracy']['top1_error_last']:.2f}",
    "top-1 error, best epoch (%)": lambda r: f"{r['accuracy']['top1_error_best']:.2f}",
    "top-5 error, last epoch (%)": lambda r: (
        f"{r['accuracy']['top5_error_last']:.2f}" if len(r["classes"]["names"]) > 5 else _NOTHING
    ),
    "parameters": lambda r: f"{r['network']['parameters']:,}",
    "multiply-adds, convolutions and classifier": lambda r: f"{r['network']['multiply_adds']:,}",
    "multiply-adds with normalisation and activations": lambda r: (
        f"{r['network']['all_multiply_adds']:,}"
    ),
    "search alone": lambda r: show_cost(r["cost"]["search_alone"], r["cost"]["unit"]),
    "search and its inputs": lambda r: (
        show_cost(r["cost"]["total"], r["cost"]["unit"])
        + (", and an unknown cost elsewhere" if r["subset"].get("made_elsewhere") else "")
    ),
    "contest": _contest,
    "held-out accuracy, found over random (%)": _improvement,
    "break-even (searches)": _break_even,
    "device": lambda r: r["device"],
    "seed": lambda r: str(r["seed"]),
}
