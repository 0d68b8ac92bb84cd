"""The report of a study: report.md, its figures and results.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from classification.durations import format_cost, three_figures
from evaluate.confusion import CONFUSION, read_confusions
from evaluate.figures.fronts import cost_front
from evaluate.figures.study import StudyPoint, curves, scale_costs, two_cost_axes
from evaluate.figures.style import needs_log_axis, save_figure
from evaluate.published.tables import PAPER, TABLE_6
from evaluate.statistics import Summary, summarise_seeds
from pipeline.reports.page import describe_start_up, write_page
from pipeline.reports.results import break_even
from pipeline.run_folder import RunFolder
from pipeline.store.ledger import Cost
from pipeline.studies.config import COST
from pipeline.studies.differences import Difference, compare_settings
from pipeline.studies.results import TrialResult, as_json, by_setting
from pipeline.studies.study import Study, Trial
from pipeline.studies.tables import agreement_tables, mean_and_std, seconds_table

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
    """Write the study's page from complete and incomplete trials; return its results.

    `all_images` are the figures of all images in the tables of agreement, by each scorer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures, start_ups = _draw(folder, study, results), RunFolder(folder).start_ups.attempts()
    settings = by_setting(results)
    reference = study.config.reference
    differences = compare_settings(results, reference)
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
    values = {
        "name": study.config.name,
        "base": str(study.config.base),
        "command": command,
        "end": _END[study.until or study.goal],
        "of_contest": study.until is not None,
        "whole": sum(result.top1_error is not None for result in results),
        "trials": len(results),
        "failed": [(str(r.trial), r.error, str(_spent(r))) for r in results if r.error],
        "missing": [str(r.trial) for r in results if r.top1_error is None and not r.error],
        "total": str(total),
        "start_up": str(Cost.of(start_ups)) if start_ups else None,
        "devices": "; ".join(sorted(frozenset().union(*(r.devices for r in results)))),
        "reference": reference,
        "comparisons": len(differences),
        "figures": figures,
        "settings": [
            _setting_row(key, trials, results, differences.get(key))
            for key, trials in settings.items()
        ],
        "searched": study.goal == "network",
        "probed": study.goal == "subset",
        "contested": any(trial.config.contest is not None for trial in study.trials),
        "agreement": agreement_tables(settings, all_images) if study.config.agreement else [],
        "seconds": seconds_table(settings),
        "table_6": _table_6(settings) if study.config.table_6 else [],
        "published": TABLE_6 if study.config.table_6 else [],
        "paper": PAPER,
    }
    write_page(folder, "study.md.j2", values, record)
    return record


def _draw(folder: Path, study: Study, results: Sequence[TrialResult]) -> list[str]:
    """Draw a figure per panel from the completed trials; return the file names."""
    whole = [result for result in results if result.top1_error is not None]
    names = []
    for panel in dict.fromkeys(result.trial.panel for result in whole):
        figure = _figure_of(study, [result for result in whole if result.trial.panel == panel])
        if figure is not None:
            names.append(f"figure{'-' if panel else ''}{panel.replace('=', '-')}.png")
            save_figure(figure, folder / names[-1])
    return names


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


def _setting_row(
    key: tuple[str, str],
    trials: Sequence[TrialResult],
    results: Sequence[TrialResult],
    difference: Difference | None,
) -> dict[str, str]:
    whole = [trial for trial in trials if trial.top1_error is not None]
    return {
        "series": key[0],
        "label": key[1] or "–",
        "n": str(len(whole)),
        "error": _with_interval(_error(whole)),
        "difference": _with_interval(difference.summary if difference else None, signed=True),
        "p": _p(difference.p if difference else None),
        "p_holm": _p(difference.p_holm if difference else None),
        "selection": _mean_cost([trial.selection for trial in trials]),
        "search": _mean_cost([trial.search_alone for trial in trials]),
        "total": _mean_cost([trial.total for trial in trials]),
        "contest": _mean_cost([trial.contest for trial in trials]),
        "break_even": _break_even(trials, results),
    }


def _setting_json(
    key: tuple[str, str],
    trials: Sequence[TrialResult],
    difference: Difference | None,
) -> dict[str, Any]:
    error = _error([trial for trial in trials if trial.top1_error is not None])
    return {
        "series": key[0],
        "label": key[1],
        "top1_error": vars(error) if error else None,
        "difference": difference.as_json() if difference else None,
    }


def _error(whole: Sequence[TrialResult]) -> Summary | None:
    errors = [trial.top1_error for trial in whole if trial.top1_error is not None]
    return summarise_seeds(errors) if errors else None


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


def _table_6(settings: Mapping[tuple[str, str], Sequence[TrialResult]]) -> list[dict[str, str]]:
    rows = []
    for (series, label), trials in settings.items():
        whole = [c for c in trials if c.accuracy is not None and c.network is not None]
        if not whole:
            continue
        top5 = [float(c.accuracy["top5_error_last"]) for c in whole if c.accuracy]
        parameters = [c.network["parameters"] / 1e6 for c in whole if c.network]
        adds, all_adds = (
            mean_and_std(summarise_seeds([c.network[key] / 1e6 for c in whole if c.network]))
            for key in ("multiply_adds", "all_multiply_adds")
        )
        rows.append(
            {
                "name": ", ".join(filter(None, (series, label))),
                "n": str(len(whole)),
                "top1": mean_and_std(_error(whole)),
                "top5": mean_and_std(summarise_seeds(top5)) if _classes(whole[0]) > 5 else "–",
                "parameters": mean_and_std(summarise_seeds(parameters)),
                "adds": f"{adds} ({all_adds})",
                "search": _mean_days([c.search_alone for c in whole]),
                "total": _mean_days([c.total for c in whole]),
                "contest": _mean_days([c.contest for c in whole]),
            }
        )
    return rows


def _classes(result: TrialResult) -> int:
    return len(read_confusions(result.artifacts["retrain"].path / CONFUSION))


def _spent(result: TrialResult) -> Cost:
    return sum(result.costs.values(), Cost())


def _mean_cost(costs: Sequence[Cost]) -> str:
    hours = [cost.hours for cost in costs if cost.hours is not None]
    if len(hours) < len(costs) or not hours:
        return "–"
    return format_cost(sum(hours) / len(hours), sum(costs, Cost()).unit)


def _mean_days(costs: Sequence[Cost]) -> str:
    """Return the mean in GPU-days, the unit of the published column; other costs as they are."""
    total = sum(costs, Cost())
    if total.unit != "GPU-hours":
        return str(Cost(total.gpu_hours / len(costs), total.cpu_hours / len(costs)))
    return f"{three_figures(total.gpu_hours / len(costs) / 24)} GPU-days"


def _with_interval(summary: Summary | None, signed: bool = False) -> str:
    if summary is None:
        return "–"
    if summary.low is None or summary.high is None or summary.std is None:
        return f"{summary.mean:+.2f}" if signed else f"{summary.mean:.2f}"
    sign = "+" if signed else ""
    mean, low, high = (
        format(value, f"{sign}.2f") for value in (summary.mean, summary.low, summary.high)
    )
    return f"{mean} ± {summary.std:.2f} [{low}, {high}]"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2g}" if value >= _SMALLEST_P else f"<{_SMALLEST_P}"
