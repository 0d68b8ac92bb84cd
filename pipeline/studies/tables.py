"""Tables of a study's report, as columns of text by title."""

from collections.abc import Iterable, Mapping, Sequence

from classification.durations import format_cost, three_figures
from evaluate.confusion import CONFUSION, read_confusions
from evaluate.published.tables import TABLE_6
from evaluate.statistics import Summary, summarise_seeds
from pipeline.stages.search import SEARCHES
from pipeline.store.ledger import Cost
from pipeline.studies.agreement import OF_ALL_SEEDS, OF_IMAGES, OF_RANKINGS, OF_RECOGNITION
from pipeline.studies.results import TrialResult

Settings = Mapping[tuple[str, str], Sequence[TrialResult]]
Columns = Mapping[str, Sequence[str]]
_Figures = Sequence[Mapping[str, float | None]]
_PARTS = {
    "scorer": ("scorer",),
    "scoring": ("scores", "baseline", "subset"),
    "search": SEARCHES,
    "contest": ("contest",),
    "retraining": ("width", "retrain"),
    "probes": ("probe",),
}


def agreement_tables(settings: Settings, all_images: _Figures) -> list[Columns]:
    """Return the tables of rankings, of the images kept and of how the scorer recognises them, the
    last two with a row of all images."""
    rows = [(_name(key), [trial.agreement for trial in trials]) for key, trials in settings.items()]
    with_all = [("all images", all_images), *rows] if all_images else rows
    kept = [_figures(titles, with_all) for titles in (OF_IMAGES, OF_RECOGNITION)]
    return [_figures(OF_RANKINGS, rows), *kept]


def seconds_table(settings: Settings) -> Columns:
    """Return the seconds of each part of the work, means over seeds, in device-seconds: a column
    for each part that a trial has."""
    columns = {"": [_name(key) for key in settings]}
    for part, stages in _PARTS.items():
        costs = [[_of_part(trial, stages) for trial in trials] for trials in settings.values()]
        if any(cost is not None for trials in costs for cost in trials):
            columns[part] = [_mean_seconds(trials) for trials in costs]
    return columns


def table_6(settings: Settings, contested: bool) -> Columns:
    """Return the published rows of Table 6 and, below them, the networks of this study."""
    titles = (
        *("architecture", "n", "top-1 error", "top-5 error", "parameters (M)"),
        *("multiply-adds (M)", "search alone", "with scorer and scores", "contest"),
    )
    rows = [
        (
            f"{row.architecture} (published: {row.source})",
            "–",
            *(f"{number}" for number in (row.top1_error, row.top5_error, row.parameters_millions)),
            _or_dash(row.multiply_adds_millions),
            _or_dash(row.search_cost_gpu_days, " GPU-days"),
            *("–", "–"),
        )
        for row in TABLE_6
    ]
    for key, trials in settings.items():
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
            (
                f"{_name(key)} (measured here)",
                str(len(whole)),
                mean_and_std(error_of(whole)),
                mean_and_std(summarise_seeds(top5)) if _classes(whole[0]) > 5 else "–",
                mean_and_std(summarise_seeds(parameters)),
                f"{adds} ({all_adds})",
                *(
                    _mean_days([c.search_alone for c in whole]),
                    _mean_days([c.total for c in whole]),
                ),
                _mean_days([c.contest for c in whole]),
            )
        )
    columns = dict(zip(titles, zip(*rows, strict=True), strict=True))
    return columns if contested else {t: c for t, c in columns.items() if t != "contest"}


def error_of(trials: Iterable[TrialResult]) -> Summary | None:
    """Return the error of a setting over its completed trials; None if there are none."""
    errors = [trial.top1_error for trial in trials if trial.top1_error is not None]
    return summarise_seeds(errors) if errors else None


def mean_and_std(summary: Summary | None) -> str:
    """Return `mean ± sample standard deviation` in three and two digits."""
    if summary is None:
        return "–"
    mean = f"{summary.mean:.3g}"
    return mean if summary.std is None else f"{mean} ± {summary.std:.2g}"


def with_interval(summary: Summary | None, signed: bool = False) -> str:
    """Return `mean ± sample standard deviation [95 % interval]`, with a sign if `signed`."""
    if summary is None:
        return "–"
    sign = "+" if signed else ""
    if summary.low is None or summary.high is None or summary.std is None:
        return f"{summary.mean:{sign}.2f}"
    mean, low, high = (f"{v:{sign}.2f}" for v in (summary.mean, summary.low, summary.high))
    return f"{mean} ± {summary.std:.2f} [{low}, {high}]"


def mean_cost(costs: Sequence[Cost]) -> str:
    """Return the mean of costs of one kind of device; `–` if they are of two."""
    hours = [cost.hours for cost in costs if cost.hours is not None]
    if len(hours) < len(costs) or not hours:
        return "–"
    return format_cost(sum(hours) / len(hours), sum(costs, Cost()).unit)


def _name(key: tuple[str, str]) -> str:
    return ", ".join(filter(None, key))


def _figures(titles: Mapping[str, str], rows: Sequence[tuple[str, _Figures]]) -> Columns:
    columns = {"": [name for name, _ in rows]}
    for column, title in titles.items():
        columns[title] = []
        for _, trials in rows:
            values = [v for trial in trials if (v := trial.get(column)) is not None]
            shown = values[:1] if column in OF_ALL_SEEDS else values
            columns[title].append(mean_and_std(summarise_seeds(shown)) if shown else "–")
    return columns


def _of_part(trial: TrialResult, stages: Sequence[str]) -> Cost | None:
    """Return the cost of a trial's stages among `stages`; None if it has none of them."""
    costs = [trial.costs[name] for name in stages if name in trial.costs]
    return sum(costs, Cost()) if costs else None


def _mean_seconds(costs: Sequence[Cost | None]) -> str:
    hours = [cost.hours for cost in costs if cost is not None and cost.hours is not None]
    if not hours or len(hours) < len(costs):
        return "–"
    return f"{3600 * sum(hours) / len(hours):,.0f}"


def _mean_days(costs: Sequence[Cost]) -> str:
    """Return the mean in GPU-days, the unit of the published column; other costs as they are."""
    total = sum(costs, Cost())
    if total.unit != "GPU-hours":
        return str(Cost(total.gpu_hours / len(costs), total.cpu_hours / len(costs)))
    return f"{three_figures(total.gpu_hours / len(costs) / 24)} GPU-days"


def _classes(result: TrialResult) -> int:
    return len(read_confusions(result.artifacts["retrain"].path / CONFUSION))


def _or_dash(number: float | None, unit: str = "") -> str:
    return f"{number}{unit}" if number else "–"
