"""The report of a study: report.html, report.md, their figures and results.json."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from classification.data.layout import common_name, evaluated_name
from evaluate.figures.fronts import cost_front
from evaluate.figures.study import StudyPoint, curves, scale_costs, two_cost_axes
from evaluate.figures.style import needs_log_axis
from evaluate.published.tables import PAPER
from pipeline.reports.page import describe_start_up, write_html, write_page
from pipeline.reports.picture import Picture
from pipeline.reports.record import digest_with_code
from pipeline.reports.results import break_even
from pipeline.run_folder import PAGE, RESULTS, RunFolder
from pipeline.store.ledger import Cost
from pipeline.store.store import Store
from pipeline.studies.config import COST
from pipeline.studies.differences import LEVEL, Difference, compare_settings, describe_differences
from pipeline.studies.forest import forest
from pipeline.studies.results import TrialResult, as_json, by_setting
from pipeline.studies.study import Study, Trial
from pipeline.studies.tables import (
    Settings,
    agreement_tables,
    error_of,
    mean_cost,
    seconds_table,
    table_6,
    with_interval,
)
from pipeline.studies.tasks import Tasks

_ERROR = "top-1 error (%)"
_SMALLEST_P = 0.0001  # in tables; results.json has all digits
_AXES = {"subset.fraction": "t, share of each class kept", "scores.draws": "M, draws of each image"}
_ACCOUNT = {
    "network": "choosing the images + search",
    "subset": "choosing the images + training one probe on them",
    "classifier": "training the classifier",
}
_PLAIN = ("random", "full")  # measures with which the others are compared, marked in the figure
_MOST_LINES = 8  # series of which the two cost axes can be read
_END = {
    "network": "the network found, retrained",
    "subset": "a classifier trained on the subset alone",
    "classifier": "the classifier",
    "contest": "the networks found, trained equally",
}


def write_study_report(
    folder: Path,
    study: Study,
    results: Sequence[TrialResult],
    total: Cost,
    command: str,
    all_images: Sequence[Mapping[str, float | None]] = (),
) -> dict[str, Any]:
    """Write the study's pages from complete and incomplete trials; return its results.

    `all_images` are the figures of all images in the tables of agreement, by each scorer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start_ups = RunFolder(folder).start_ups.attempts()
    settings, reference = by_setting(results), study.config.reference
    differences = compare_settings(results, reference)
    contested = any(trial.config.contest is not None for trial in study.trials)
    record = {
        "study": study.config.model_dump(mode="json"),
        "cost": str(total),
        **describe_start_up(RunFolder(folder)),
        "settings": [
            _setting_json(key, trials, differences.get(key)) for key, trials in settings.items()
        ],
        "comparisons": len(differences),
        "all_images": list(all_images),
        "trials": [as_json(result) for result in results],
    }
    axis, groups = forest(settings, results, reference, differences)
    settings = {row.key: settings[row.key] for rows in groups.values() for row in rows}
    values = {
        "name": study.config.name,
        "headline": _headline(settings, reference, differences),
        "base": str(study.config.base),
        "seeds": study.config.seeds,
        "command": command,
        "end": _END[study.until or study.goal],
        "evaluated": _evaluated(study),
        "of_contest": study.until is not None,
        "whole": sum(result.top1_error is not None for result in results),
        "trials": len(results),
        "failed": [(str(r.trial), r.error, str(_spent(r))) for r in results if r.error],
        "missing": [str(r.trial) for r in results if r.top1_error is None and not r.error],
        "total": str(total),
        "start_up": str(Cost.of(start_ups)) if start_ups else None,
        "devices": "; ".join(sorted(frozenset().union(*(r.devices for r in results)))),
        "reference": reference,
        "level": f"{LEVEL:g}",
        "comparisons": len(differences),
        "figures": _draw(folder, study, results),
        "searched": study.goal == "network",
        "probed": study.goal == "subset",
        "contested": contested,
        "names": {
            "series": [key[0] for key in settings],
            "point": [key[1] or "–" for key in settings],
        },
        "errors": _error_columns(settings, reference, differences),
        "costs": _cost_columns(settings, results, study, contested),
        "axis": axis,
        "groups": groups,
        "agreement": agreement_tables(settings, all_images) if study.config.agreement else [],
        "seconds": seconds_table(settings),
        "table_6": table_6(settings, contested) if study.config.table_6 else None,
        "paper": PAPER,
        "results": str(folder / RESULTS),
        "config": yaml.safe_dump(record["study"], sort_keys=False, allow_unicode=True),
    }
    write_html(folder / PAGE, "study.html.j2", values)
    write_page(folder, "study.md.j2", values, record)
    return record


def study_key(
    folder: Path,
    study: Study,
    results: Sequence[TrialResult],
    command: str,
    tasks: Tasks,
    store: Store,
) -> str:
    """Return a digest of all that decides a study's report, of the ledger the attempts at its
    stages."""
    trials = [
        (str(result.trial), result.error, {n: a.digest for n, a in result.artifacts.items()})
        for result in results
    ]
    config = study.config.model_dump(mode="json")
    made_from = {"folder": str(folder), "study": config, "command": command, "trials": trials}
    made_from["evaluated"] = _evaluated(study)
    return digest_with_code(made_from, store, [fingerprint for _, fingerprint in tasks.tasks])


def _evaluated(study: Study) -> str:
    """Return the usual name of the images that the trials are evaluated on."""
    configs = [trial.config for trial in study.trials]
    images = [c.target if c.goal == "network" else c.data for c in configs]
    return common_name(map(evaluated_name, dict.fromkeys(images)))


def _headline(
    settings: Settings, reference: str | None, differences: Mapping[tuple[str, str], Difference]
) -> str:
    """Return the finding of the study in a sentence or two."""
    errors = {key: error for key, trials in settings.items() if (error := error_of(trials))}
    if not errors:
        return "No trial is complete, so there is no error to report yet."
    series = [series for series, _ in settings]
    names = {key: key[0] if series.count(key[0]) == 1 else ", ".join(key) for key in settings}
    if reference is not None:
        return describe_differences(differences, reference, names)
    ends = [pick(errors, key=lambda key: errors[key].mean) for pick in (min, max)]
    low, high = (f"{with_interval(errors[key])} % ({names[key]})" for key in ends)
    return (
        f"The top-1 errors of {len(errors)} settings range from {low} to {high}. "
        "The study has no reference, so they are not tested against each other."
    )


def _draw(folder: Path, study: Study, results: Sequence[TrialResult]) -> list[Picture]:
    """Draw a figure per panel from the completed trials."""
    whole = [result for result in results if result.top1_error is not None]
    pictures = []
    for panel in dict.fromkeys(result.trial.panel for result in whole):
        figure = _figure_of(study, [result for result in whole if result.trial.panel == panel])
        if figure is not None:
            name = f"figure{'-' if panel else ''}{panel.replace('=', '-')}"
            title = f"Top-1 error against {study.config.x}{', ' if panel else ''}{panel}"
            pictures.append(Picture.save(folder, name, figure, title))
    return pictures


def _figure_of(study: Study, whole: Sequence[TrialResult]) -> Figure | None:
    title = whole[0].trial.panel
    if study.config.x != COST:
        points = [_point(result, result.trial.x or 0.0, "") for result in whole]
        ticks = sorted({point.x for point in points})
        return curves(
            points,
            _AXES.get(study.config.x, study.config.x),
            _ERROR,
            title=title,
            log_x=needs_log_axis(ticks),  # spreads values such as 10, 20, … 200
            x_ticks=ticks,
        )
    unit = sum((_spent(result) for result in whole), Cost()).unit
    if "+" in unit:
        return None  # CPU-hours and GPU-hours have no common axis
    if study.goal == "network" and len({r.trial.series for r in whole}) <= _MOST_LINES:
        alone = [_point(r, r.search_alone.hours or 0.0, r.trial.label) for r in whole]
        total = [_point(r, r.total.hours or 0.0, r.trial.label) for r in whole]
        unit, (alone, total) = scale_costs(unit, alone, total)
        return two_cost_axes(alone, total, unit, _ERROR)
    points = [_point(r, r.total.hours or 0.0, r.trial.label) for r in whole]
    unit, (points,) = scale_costs(unit, points)
    plain = {r.trial.series for r in whole if r.trial.config.subset.measure in _PLAIN}
    return cost_front(points, f"{unit}, {_ACCOUNT[study.goal]}", _ERROR, marked=plain, title=title)


def _point(result: TrialResult, x: float, label: str) -> StudyPoint:
    assert result.top1_error is not None
    return StudyPoint(result.trial.series, x, result.top1_error, result.trial.seed, label)


def _error_columns(
    settings: Settings, reference: str | None, differences: Mapping[tuple[str, str], Difference]
) -> dict[str, list[str]]:
    columns = {
        "n": [str(sum(t.top1_error is not None for t in trials)) for trials in settings.values()],
        "top-1 error": [with_interval(error_of(trials)) for trials in settings.values()],
    }
    if reference is not None:
        found = [differences.get(key, Difference(None, None, None)) for key in settings]
        columns |= {
            "difference": [with_interval(each.summary, signed=True) for each in found],
            "p": [_p(each.p) for each in found],
            "p (Holm)": [_p(each.p_holm) for each in found],
        }
    return columns


def _cost_columns(
    settings: Settings, results: Sequence[TrialResult], study: Study, contested: bool
) -> dict[str, list[str]]:
    """Return the mean costs that a study of this goal has."""

    def mean_of(cost: Callable[[TrialResult], Cost]) -> list[str]:
        return [mean_cost([cost(trial) for trial in trials]) for trials in settings.values()]

    searched = study.goal == "network"
    columns = {"subset": mean_of(lambda trial: trial.selection)}
    if searched:
        columns["search alone"] = mean_of(lambda trial: trial.search_alone)
    if study.goal != "classifier":
        columns["total"] = mean_of(lambda trial: trial.total)
    if searched:
        columns["break-even"] = [_break_even(trials, results) for trials in settings.values()]
    if searched and contested:
        columns["contest"] = mean_of(lambda trial: trial.contest)
    return columns


def _setting_json(
    key: tuple[str, str],
    trials: Sequence[TrialResult],
    difference: Difference | None,
) -> dict[str, Any]:
    error = error_of(trials)
    return {
        "series": key[0],
        "label": key[1],
        "top1_error": vars(error) if error else None,
        "difference": difference.as_json() if difference else None,
    }


def _break_even(trials: Sequence[TrialResult], results: Sequence[TrialResult]) -> str:
    """Return the number of searches after which the subset has paid for itself: the mean over
    seeds, against the study's full-data search with the same settings and seed."""
    needed = []
    for trial in trials:
        full = next((other for other in results if _is_full_twin(other.trial, trial.trial)), None)
        if trial.trial.config.subset.measure == "full" or full is None:
            return "–"
        hours = (trial.before_search.hours, trial.search_alone.hours, full.search_alone.hours)
        needed.append(break_even(*hours))
    if any(each is None for each in needed):
        return "never"
    return f"{sum(each for each in needed if each is not None) / len(needed):.3g}"


def _is_full_twin(other: Trial, trial: Trial) -> bool:
    return (
        other.config.subset.measure == "full"
        and other.seed == trial.seed
        and other.config.search == trial.config.search
    )


def _spent(result: TrialResult) -> Cost:
    return sum(result.costs.values(), Cost())


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2g}" if value >= _SMALLEST_P else f"<{_SMALLEST_P}"
