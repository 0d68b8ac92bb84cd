"""A Markdown table of classifier runs: one row per setting, averaged over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from classification.config import ClassifierConfig
from classification.data.layout import EVALUATED, common_name
from classification.errors import ConfigError
from classification.settings import effective_settings
from evaluate.published.error_rates import published_row
from evaluate.published.rows import Setting
from pipeline.reports.page import describe_optimistic, markdown_table
from pipeline.reports.seed_groups import group_by_setting, setting_key, spread, varied
from pipeline.reports.training_time import VANILLA, vanilla

# Settings with a separate column, or the same in all rows.
_SHOWN = {"model", "weights", "epochs", *vars(VANILLA)}

Results = dict[str, Any]


@dataclass(frozen=True)
class _Row:
    """The runs of one setting, which differ only in their seeds."""

    key: str
    runs: tuple[Results, ...]

    @cached_property
    def scorer(self) -> ClassifierConfig:
        return ClassifierConfig.model_validate(self.runs[0]["scorer"])

    @cached_property
    def setting(self) -> Setting:
        return Setting.of(self.scorer)

    @property
    def augmentation(self) -> dict[str, Any]:
        return self.runs[0]["data"]["augmentation"]

    @property
    def others(self) -> dict[str, Any]:
        """Settings without a separate column."""
        every = self.scorer.model_dump(mode="json")
        kept = {k: v for k, v in every.items() if k not in _SHOWN}
        return kept | self.augmentation

    def errors(self, which: str) -> list[float]:
        """Return the top-1 errors in percent, one per seed."""
        return [run["accuracy"][f"top1_error_{which}"] for run in self.runs]

    def times(self, which: str) -> list[float] | None:
        """Return the time in each seed's report; None if one is missing."""
        times = [run["training_time"][which] for run in self.runs]
        return None if None in times else times


def classification_table(runs: Sequence[Results]) -> str:
    """Tabulate the mean ± sample standard deviation over seeds, training times, published values.

    `runs` are the results.json of classifier runs. Raises ConfigError if runs differ in data or
    epochs, or if a setting has a seed twice.
    """
    _check_comparable(runs)
    columns = _columns(_group(runs))
    data, epochs = runs[0]["data"], runs[0]["scorer"]["epochs"]
    lines = [
        f"{data['line']}; {epochs} epochs.",
        "",
        markdown_table(columns, words=2),
        "",
        *_notes(columns, runs),
    ]
    return "\n".join(lines)


def _check_comparable(runs: Sequence[Results]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run["data"]["content_hash"] != first["data"]["content_hash"]:
            raise ConfigError(
                f"RUN: {first['name']} and {run['name']} have different data "
                f"({first['data']['line']}; {run['data']['line']}); allowed: the same images"
            )
        if run["scorer"]["epochs"] != first["scorer"]["epochs"]:
            raise ConfigError(
                f"RUN: {first['name']} has {first['scorer']['epochs']} epochs and {run['name']} "
                f"{run['scorer']['epochs']}; allowed: runs of as many epochs"
            )


def _group(runs: Sequence[Results]) -> list[_Row]:
    groups = group_by_setting(
        runs,
        lambda run: _setting(run["scorer"], run["data"]["augmentation"]),
        lambda run: (run["name"], run["seed"]),
    )
    return [_Row(key, same) for key, same in groups.items()]


def _setting(scorer: dict[str, Any], augmentation: dict[str, Any]) -> list[dict[str, Any]]:
    return [scorer, augmentation]


def _columns(rows: Sequence[_Row]) -> dict[str, list[str]]:
    """Return the columns by title, without empty ones."""
    columns = {
        "model": [row.scorer.model for row in rows],
        "mixing and regularisers": [row.setting.describe() for row in rows],
    }
    others = varied([row.others for row in rows])
    if any(others):
        columns["other settings"] = others
    columns["n"] = [str(len(row.runs)) for row in rows]
    columns["top-1 error, last epoch (%)"] = [spread(row.errors("last")) for row in rows]
    columns["best epoch (%)"] = [spread(row.errors("best")) for row in rows]
    columns["training time"] = [_number(_ratio(row, rows)) for row in rows]
    published = [
        published_row(row.scorer.model, row.runs[0]["data"]["published_as"], row.setting)
        for row in rows
    ]
    errors = [None if found is None else found[1].top1_error for found in published]
    times = [None if found is None else found[1].training_time for found in published]
    if any(errors):
        columns["published top-1 (%)"] = [_number(error) for error in errors]
    if any(times):
        columns["published training time"] = [_number(time) for time in times]
    return columns


def _ratio(row: _Row, rows: Sequence[_Row]) -> float | None:
    """Return the row's training time over vanilla's: the vanilla row's if it is of the same device,
    else the one that each run's report compares with."""
    if row.setting.is_vanilla:
        return 1.0
    wanted = setting_key(_setting(effective_settings(vanilla(row.scorer)), row.augmentation))
    twin = next((other for other in rows if other.key == wanted), None)
    if twin and len({run["device"] for run in (*row.runs, *twin.runs)}) == 1:
        own, base = row.times("seconds_per_epoch"), twin.times("seconds_per_epoch")
        if own and base:
            return mean(own) / mean(base)
    reported = row.times("relative_to_vanilla")
    return mean(reported) if reported else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _notes(columns: dict[str, list[str]], runs: Sequence[Results]) -> list[str]:
    evaluated = common_name(run.get("classes", {}).get("evaluated", EVALUATED) for run in runs)
    notes = [
        "- Errors: mean ± sample standard deviation over n seeds. Best epoch: "
        f"{describe_optimistic(evaluated)}.",
        "- Training time: seconds per epoch, including its test, over those of vanilla on the "
        "same device, in separate runs; `python -m benchmarks.mixing` is less noisy.",
    ]
    if "published top-1 (%)" in columns:
        notes.append(
            "- Published: the paper's figures after 300 epochs, not measured here; for the methods "
            "that it compares with, often those of the best epoch (Yun et al. 2019)."
        )
    return notes
