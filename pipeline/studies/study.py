"""A study's trials: base config × series × grid × seeds."""

import copy
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from classification.errors import ConfigError
from pipeline.config import PipelineConfig, load_config
from pipeline.documents import Document
from pipeline.studies.config import COST, SeriesConfig, Settings, StudyConfig
from pipeline.validation import describe_invalid

_MAX_TRIALS = 10_000


@dataclass(frozen=True)
class Trial:
    """One config of a study.

    `x` is None if the figure's axis is the cost; `point` are the settings that distinguish the
    trial within its series; `panel` names the figure that it is drawn in.
    """

    series: str
    label: str
    seed: int
    x: float | None
    panel: str
    point: Mapping[str, Any]
    config: PipelineConfig

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.series, self.label, f"seed {self.seed}")))


@dataclass(frozen=True)
class Study:
    """A study's settings and all its trials, in the order of the file."""

    config: StudyConfig
    trials: tuple[Trial, ...]

    @property
    def goal(self) -> str:
        """The goal of every trial."""
        return self.trials[0].config.goal

    @property
    def until(self) -> str | None:
        """The last stage of every trial; None if it is that of the goal."""
        return "contest" if self.config.error == "contest" else None


def load_study(path: Path, overrides: Sequence[str] = (), seeds: int | None = None) -> Study:
    """Read a study; `overrides` (`KEY=VALUE`) apply to every trial, `seeds` replaces the file's.

    Raises ConfigError in one line that names file, line and key for an unknown key, a value that
    is not allowed, a series without points, or two identical trials.
    """
    document = Document.read(path)
    try:
        config = StudyConfig.model_validate(document.values)
    except ValidationError as error:
        location = error.errors(include_url=False, include_context=False)[0]["loc"]
        where = document.where(*location)
        raise ConfigError(f"{where}: {describe_invalid(error, StudyConfig)}") from error
    if seeds is not None:
        config = config.model_copy(update={"seeds": seeds})
    _check_series(config, document)
    try:
        Document.read(path.parent / config.base)
    except ConfigError as error:
        raise ConfigError(f"{document.where('base')}: base: {error}") from error
    trials: list[Trial] = []
    seen: dict[str, tuple[Trial, str]] = {}
    for point in _all_points(config):
        for index in range(config.seeds):
            trial = _trial(config, point, index, document, overrides)
            where = document.where(*point.location)
            described = trial.config.model_copy(update={"name": "-"}).model_dump_json()
            if described in seen:
                other, first = seen[described]
                raise ConfigError(
                    f"{where}: the trial {trial} has the same settings as {other} of {first}"
                )
            seen[described] = (trial, where)
            trials.append(trial)
    _check_goals(trials, path)
    if config.error == "contest":
        _check_contests(trials, document)
    return Study(config, tuple(trials))


@dataclass(frozen=True)
class _Point:
    """A point of a series: its settings, and their location in the file."""

    series: int
    settings: Settings
    location: tuple[str | int, ...]


def _check_series(config: StudyConfig, document: Document) -> None:
    names = [series.name for series in config.series]
    for index, series in enumerate(config.series):
        where = document.where("series", index)
        if names.index(series.name) != index:
            raise ConfigError(f"{where}: series.name: {series.name!r} is used twice")
        number = _num_points(config, index)
        if not number:
            raise ConfigError(
                f"{where}: series {series.name!r} has no points; set points or grid in the series "
                "or in the study"
            )
        if number > _MAX_TRIALS:
            raise ConfigError(
                f"{where}: series {series.name!r}: found {number:,} points; allowed: at most "
                f"{_MAX_TRIALS:,}"
            )
    trials = config.seeds * sum(_num_points(config, index) for index in range(len(names)))
    if trials > _MAX_TRIALS:
        raise ConfigError(
            f"{document.where('seeds')}: seeds: found {config.seeds}, so {trials:,} trials; "
            f"allowed: at most {_MAX_TRIALS:,}"
        )


def _all_points(config: StudyConfig) -> list[_Point]:
    places = []
    for index in range(len(config.series)):
        points, location = _points(config, index)
        for number, settings in enumerate(points):
            here = (*location, number) if location[-1] == "points" else location
            places.append(_Point(index, settings, here))
    return places


def _num_points(config: StudyConfig, index: int) -> int:
    """Return a series' number of points without building the combinations of a grid."""
    owner = _owner(config, index)
    if owner.points is not None:
        return len(owner.points)
    return math.prod(map(len, owner.grid.values())) if owner.grid else 0


def _owner(config: StudyConfig, index: int) -> SeriesConfig | StudyConfig:
    """Return the config that defines a series' points: the series or the study."""
    series = config.series[index]
    own = series.points is not None or series.grid is not None
    return series if own else config


def _points(config: StudyConfig, index: int) -> tuple[list[Settings], tuple[str | int, ...]]:
    """Return a series' points, its own or the study's, and their location in the file."""
    owner = _owner(config, index)
    above: tuple[str | int, ...] = () if owner is config else ("series", index)
    if owner.points is not None:
        return owner.points, (*above, "points")
    if owner.grid is not None:
        keys = list(owner.grid)
        products = itertools.product(*owner.grid.values()) if keys else ()
        return [dict(zip(keys, values, strict=True)) for values in products], (*above, "grid")
    return [], ("series", index)


def _trial(
    config: StudyConfig, point: _Point, index: int, document: Document, overrides: Sequence[str]
) -> Trial:
    series = config.series[point.series]
    # A copy: a dotted key changes the mapping that it reaches into.
    settings = copy.deepcopy(config.set | series.set | point.settings)
    base = document.path.parent / config.base
    try:
        resolved = load_config(base, overrides, config.name, settings)
    except ConfigError as error:
        where = _blame(str(error), config, point, document)
        message = str(error).removeprefix(f"{base}: ")
        raise ConfigError(f"{where}: {message}") from error
    # A number is shown as the config has it: with measure: full the fraction is 1.
    shown = {
        key: value_at(resolved, key) if isinstance(value, int | float) else value
        for key, value in point.settings.items()
    }
    label = ", ".join(f"{_last(key)}={_short(value)}" for key, value in shown.items())
    seed = resolved.seed + index
    slug = "-".join(
        re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-")
        for part in (config.name, series.name, label, str(seed))
        if part
    )
    resolved = resolved.model_copy(update={"seed": seed, "name": slug[:100].strip("-.")})
    x = None if config.x == COST else _number(resolved, "x", config.x, document)
    panel = ""
    if config.panels is not None:
        value = _number(resolved, "panels", config.panels, document)
        panel = f"{_last(config.panels)}={_short(value)}"
    return Trial(series.name, label, seed, x, panel, point.settings, resolved)


def _blame(message: str, config: StudyConfig, point: _Point, document: Document) -> str:
    """Return the place in the file of the setting that an error message names, innermost first."""
    series = ("series", point.series, "set")
    places: list[tuple[Mapping[str, Any], tuple[str | int, ...]]] = [
        (point.settings, point.location),
        (config.series[point.series].set, series),
        (config.set, ("set",)),
    ]
    # A validator of a section names the field without its section.
    for pattern in (r"(^|\s){}\b", r"\b{}\b"):
        for settings, location in places:
            for key in settings:
                named = key if pattern.startswith("(") else _last(key)
                if re.search(pattern.format(re.escape(named)), message):
                    return document.where(*location, key)
    return document.where(*point.location)


def value_at(config: PipelineConfig, key: str) -> Any:
    """Return the value at a dotted key. Raises AttributeError for an unknown key."""
    return reduce(getattr, key.split("."), config)


def _number(config: PipelineConfig, use: str, key: str, document: Document) -> float:
    """Return the value at a dotted key. Raises ConfigError unless it is a number."""
    try:
        value = value_at(config, key)
    except AttributeError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"{document.where(use)}: {use}: found {key!r}; allowed: the dotted key of a number, "
            f"such as subset.fraction{', or cost' if use == 'x' else ''}"
        )
    return float(value)


def _check_goals(trials: Sequence[Trial], path: Path) -> None:
    goals = sorted({trial.config.goal for trial in trials})
    if len(goals) > 1:
        raise ConfigError(
            f"{path}: goal: found {' and '.join(goals)}; allowed: the same goal in all trials, "
            "since their errors are compared"
        )
    if goals[0] == "ranking":
        raise ConfigError(
            f"{path}: goal: found ranking, which has no single error to compare; allowed: network, "
            "subset, classifier (for rankings: python run_pipeline.py fidelity)"
        )


def _check_contests(trials: Sequence[Trial], document: Document) -> None:
    found = {trial.config.contest for trial in trials if trial.config.goal == "network"}
    if len(found) != 1 or None in found:
        what = "different contests" if len(found) > 1 else "trials without a contest"
        raise ConfigError(
            f"{document.where('error')}: error: found contest with {what}; allowed: goal, or the "
            "same contest in all trials, with goal: network"
        )


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
