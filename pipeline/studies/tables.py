"""Tables of a study's report: rankings and images kept, and the seconds of each part."""

from collections.abc import Mapping, Sequence

from evaluate.statistics import Summary, summarise_seeds
from pipeline.reports.page import markdown_table
from pipeline.stages.search import SEARCHES
from pipeline.store.ledger import Cost
from pipeline.studies.agreement import OF_ALL_SEEDS, OF_IMAGES, OF_RANKINGS, OF_RECOGNITION
from pipeline.studies.results import TrialResult

Settings = Mapping[tuple[str, str], Sequence[TrialResult]]
_PARTS = {
    "scorer": ("scorer",),
    "scoring": ("scores", "baseline", "subset"),
    "search": SEARCHES,
    "contest": ("contest",),
    "retraining": ("width", "retrain"),
    "probes": ("probe",),
}


def agreement_tables(
    settings: Settings, all_images: Sequence[Mapping[str, float | None]]
) -> list[str]:
    """Return the tables of rankings, of the images kept and of how the scorer recognises them, the
    last two with a row of all images."""
    rows = {_name(key): [trial.agreement for trial in trials] for key, trials in settings.items()}
    with_all = {"*all images*": all_images} | rows if all_images else rows
    kept = [_figures(titles, with_all) for titles in (OF_IMAGES, OF_RECOGNITION)]
    return [_figures(OF_RANKINGS, rows), *kept]


def seconds_table(settings: Settings) -> str:
    """Return the seconds of each part of the work, means over seeds, in device-seconds: a column
    for each part that a trial has."""
    columns = {"": [_name(key) for key in settings]}
    for part, stages in _PARTS.items():
        costs = [[_of_part(trial, stages) for trial in trials] for trials in settings.values()]
        if any(cost is not None for trials in costs for cost in trials):
            columns[part] = [_mean_seconds(trials) for trials in costs]
    return markdown_table(columns)


def mean_and_std(summary: Summary | None) -> str:
    """Return `mean ± sample standard deviation` in three and two digits."""
    if summary is None:
        return "–"
    mean = f"{summary.mean:.3g}"
    return mean if summary.std is None else f"{mean} ± {summary.std:.2g}"


def _name(key: tuple[str, str]) -> str:
    return ", ".join(filter(None, key))


def _figures(
    titles: Mapping[str, str], rows: Mapping[str, Sequence[Mapping[str, float | None]]]
) -> str:
    columns = {"": list(rows)}
    for column, title in titles.items():
        columns[title] = []
        for trials in rows.values():
            values = [v for trial in trials if (v := trial.get(column)) is not None]
            shown = values[:1] if column in OF_ALL_SEEDS else values
            columns[title].append(mean_and_std(summarise_seeds(shown)) if shown else "–")
    return markdown_table(columns)


def _of_part(trial: TrialResult, stages: Sequence[str]) -> Cost | None:
    """Return the cost of a trial's stages among `stages`; None if it has none of them."""
    costs = [trial.costs[name] for name in stages if name in trial.costs]
    return sum(costs, Cost()) if costs else None


def _mean_seconds(costs: Sequence[Cost | None]) -> str:
    hours = [cost.hours for cost in costs if cost is not None and cost.hours is not None]
    if not hours or len(hours) < len(costs):
        return "–"
    return f"{3600 * sum(hours) / len(hours):,.0f}"
