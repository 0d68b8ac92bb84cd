"""Fits the first config to a budget of time, by measuring it on the device.

The parts of a run get shares of the budget: what a scorer and a search leave, the retraining gets,
in the largest network that can be trained for enough epochs.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from classification.data.datasets import ImageDataset
from classification.data.folder_survey import FolderSurvey
from classification.durations import format_duration
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from pipeline.config import load_config
from pipeline.console import Console
from pipeline.device import device_name
from pipeline.estimates.estimate import estimate
from pipeline.estimates.expected import RunEstimate
from pipeline.estimates.measuring import Measuring
from pipeline.initial.config import initial_config
from pipeline.initial.plan import (
    FEWEST,
    Plan,
    Rates,
    allot,
    describe_shares,
    explained,
    networks,
    scorers,
    smallest_plan,
)
from pipeline.inputs import load_datasets
from pipeline.runner import Runner
from pipeline.stages import STAGES
from pipeline.store.store import Store

DEFAULT = {"cpu": 1800.0, "cuda": 7200.0}  # seconds, by type of device
SECONDS = 8.0  # of measuring a complete run; other parts take a third of it
_EPOCHS = 10  # of each stage in the plans that are measured first
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 3650 * 86400.0
_TRIES = 3  # of a complete run, each planned by the measuring of the one before
_USED = 0.7  # of the budget: a run that is expected to use less is planned once more

Measure = Callable[[Plan, float, Collection[str] | None], RunEstimate]
"""Estimates a plan in some seconds: all stages, or some."""


@dataclass(frozen=True)
class Fitted:
    """A config's text, and what its run is expected to cost."""

    text: str
    expected: RunEstimate


def parse_budget(text: str) -> float:
    """Return the seconds of a text such as 30m, 1.5h or 2d. Raises ConfigError for any other."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(f"--budget: found {text!r}; allowed: a time such as 90s, 30m, 1.5h or 2d")
    return seconds


def fit_to_budget(
    survey: FolderSurvey,
    name: str,
    budget: float,
    device: torch.device,
    console: Console,
) -> Fitted:
    """Return a config whose run is expected to end within `budget` seconds, measured on `device`.

    Raises ConfigError if the smallest run takes longer, and PipelineError for images on which a
    run would fail.
    """
    with TemporaryDirectory(prefix="init-") as folder, console.measuring() as show:
        measuring = Measuring(show, planned_seconds(survey))
        measure = _Measure(survey, name, device, console, Path(folder), measuring)
        plan, found = choose_plan(survey, budget, measure)
    where = f"Budget {format_duration(budget)}; on {device_name(device)}, {found.expected}"
    head = (where, describe_shares(budget))
    return Fitted(initial_config(survey, name, plan, head), found)


def planned_seconds(survey: FolderSurvey) -> float:
    """Return the seconds of measuring that are planned at least: two complete runs, and the heavier
    scorers and networks."""
    others = len(scorers(survey)) + len(networks(survey)) - 2
    return 2 * SECONDS + others * SECONDS / 3


def choose_plan(survey: FolderSurvey, budget: float, measure: Measure) -> tuple[Plan, RunEstimate]:
    """Choose models, networks and epochs for a run of `budget` seconds at most; return the plan and
    its estimate.

    Raises ConfigError if the smallest plan takes longer.
    """
    smallest = smallest_plan(survey)
    rates = _measure_rates(survey, budget, smallest, measure)
    fitting: tuple[Plan, RunEstimate] | None = None
    tried: list[Plan] = []
    while len(tried) < _TRIES:
        plan = allot(survey, rates, budget)
        if plan in tried:
            break
        found = measure(plan, SECONDS, None)
        tried.append(plan)
        high = found.wall_seconds(found.high)
        if high <= budget:
            again = fitting is None and high < _USED * budget
            fitting = explained(survey, rates, plan, budget), found
            if not again:
                break
        elif fitting is not None:
            break
        rates = rates.corrected(survey, plan, found)
    if fitting is not None:
        return fitting
    if smallest not in tried:
        found = measure(smallest, SECONDS, None)
    high = found.wall_seconds(found.high)
    _check_long_enough(budget, high, high)
    return explained(survey, rates, smallest, budget), found


def _check_long_enough(budget: float, least: float, expected: float) -> None:
    """Raise ConfigError if the smallest run, `expected` to take so long, takes at least `least`
    seconds and these are more than `budget`."""
    if least > budget:
        raise ConfigError(
            f"--budget: found {format_duration(budget)}, but on this device the smallest run takes "
            f"about {format_duration(expected)}; allowed: at least that, or fewer images"
        )


def _measure_rates(survey: FolderSurvey, budget: float, smallest: Plan, measure: Measure) -> Rates:
    """Measure the stages, the heavier scorers, and larger networks up to the first that does not
    fit into `budget` seconds.

    Raises ConfigError once the stages show that the smallest run does not fit.
    """
    first = replace(smallest, scorer_epochs=_EPOCHS, search_epochs=_EPOCHS, retrain_epochs=_EPOCHS)

    def per_epoch(stage: str, **changes: Any) -> float:
        found = measure(replace(first, **changes), SECONDS / 3, (stage,))
        return found.wall_seconds(found.high) / _EPOCHS

    found = measure(first, SECONDS, None)
    cost = {each.stage: found.wall_seconds(each.highest) for each in found.stages}
    fewest = {stage: FEWEST.get(stage, _EPOCHS) / _EPOCHS for stage in cost}
    least = sum(found.wall_seconds(e.lowest) * fewest[e.stage] for e in found.stages)
    _check_long_enough(budget, least, sum(cost[stage] * fewest[stage] for stage in cost))
    each = {stage: cost.pop(stage) / _EPOCHS for stage in FEWEST if stage in cost}
    models = {}
    if "scorer" in each:
        models = {first.scorer: each["scorer"]} | {
            name: per_epoch("scorer", scorer=name) for name in scorers(survey)[1:]
        }
    rates = Rates(models, each["search"], (each["retrain"],), sum(cost.values()))
    for channels, cells in networks(survey)[1:]:
        rate = per_epoch("retrain", channels=channels, cells=cells)
        rates = replace(rates, networks=(*rates.networks, rate))
        if allot(survey, rates, budget).channels != channels:
            break
    return rates


class _Measure:
    """Estimates plans on the images, which are loaded once."""

    def __init__(
        self,
        survey: FolderSurvey,
        name: str,
        device: torch.device,
        console: Console,
        folder: Path,
        measuring: Measuring,
    ) -> None:
        self._survey, self._name, self._device = survey, name, device
        self._console, self._folder, self._measuring = console, folder, measuring
        self._datasets: dict[str, ImageDataset] | None = None

    def __call__(self, plan: Plan, seconds: float, only: Collection[str] | None) -> RunEstimate:
        path, store = self._folder / "config.yaml", Store(self._folder / "artifacts")
        write_atomically(path, initial_config(self._survey, self._name, plan))
        config = load_config(path)
        if self._datasets is None:  # the same in every plan
            self._datasets = load_datasets(config)
        runner = Runner(STAGES, config, self._datasets, store, self._device, self._console)
        found = estimate(runner, seconds, only=only, show=self._measuring)
        self._measuring.end(seconds)
        return found
