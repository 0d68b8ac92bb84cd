"""Fits the first config to a budget of time, by measuring it on the device.

The parts of a run get shares of the budget: what a scorer and a search leave, the retraining gets,
in the largest network that can be trained for enough epochs.
"""

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from classification.data.folder_survey import FolderSurvey
from classification.durations import format_duration
from classification.errors import ConfigError
from classification.persistence.storage import write_atomically
from pipeline.config import PipelineConfig, load_config
from pipeline.console import Console
from pipeline.estimates.estimate import estimate
from pipeline.estimates.expected import RunEstimate, StageEstimate
from pipeline.initial.config import initial_config
from pipeline.initial.plan import (
    SEARCH_EPOCHS,
    Plan,
    networks,
    paper_epochs,
    scorer_epochs,
    scorers,
)
from pipeline.inputs import load_datasets
from pipeline.runner import Runner
from pipeline.stages import STAGES
from pipeline.store.store import Store

DEFAULT = {"cpu": 1800.0, "cuda": 7200.0}  # seconds, by type of device
SECONDS = 8.0  # of measuring a complete run; other parts take a third of it
_MARGIN = 0.85  # of the budget is planned, for errors of measuring
_SCORER, _SEARCH = 0.2, 0.35  # largest shares of the budget
_FEWEST = {"scorer": 5, "search": 6, "retrain": 5}  # epochs
_ENOUGH = 40  # epochs of retraining, from which on a larger network is preferred to more epochs
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 3650 * 86400.0


@dataclass(frozen=True)
class Fitted:
    """A config's text and the expected seconds of its run, with their upper end."""

    text: str
    seconds: float
    high: float


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
    with TemporaryDirectory(prefix="init-") as folder:
        measure = _Measure(survey, name, device, console, Path(folder))
        plan = choose_plan(survey, budget, measure)
        found = measure(plan, SECONDS, None)
        for _ in range(2):
            if _seconds(found.high) <= budget:
                break
            plan = _shortened(plan, 0.9 * budget / _seconds(found.high))
            found = measure(plan, SECONDS, None)
        if _seconds(found.high) > budget:
            raise _too_short(budget, _seconds(found.high))
    text = initial_config(survey, name, plan)
    return Fitted(text, _seconds(found.total), _seconds(found.high))


def choose_plan(
    survey: FolderSurvey,
    budget: float,
    measure: Callable[[Plan, float, Collection[str] | None], RunEstimate],
) -> Plan:
    """Choose models, networks and epochs for `budget` seconds.

    `measure` estimates a plan in some seconds, all stages or some. Raises ConfigError if the
    smallest plan takes longer.
    """
    planned, sizes = _MARGIN * budget, networks(survey)
    wanted = {"scorer": scorer_epochs(survey), "search": SEARCH_EPOCHS}
    plan = Plan(scorers(survey)[0], 10, 10, *sizes[0], 10)
    found = measure(plan, SECONDS, None)
    cost = {each.stage: _seconds(_upper(each)) for each in found.stages}
    each = {stage: cost[stage] / 10 for stage in _FEWEST if stage in cost}  # seconds of an epoch
    fixed = sum(value for stage, value in cost.items() if stage not in _FEWEST)
    least = fixed + sum(_FEWEST[stage] * value for stage, value in each.items())
    if least > budget:
        raise _too_short(budget, least)
    model, why = _choose_scorer(survey, planned, plan, each, measure)
    epochs = {
        stage: max(_FEWEST[stage], min(wanted[stage], math.floor(share * planned / each[stage])))
        for stage, share in (("scorer", _SCORER), ("search", _SEARCH))
        if stage in each
    }
    spent = fixed + sum(each[stage] * number for stage, number in epochs.items())
    left = max(planned - spent, _FEWEST["retrain"] * each["retrain"])
    place, chosen, larger = 0, each["retrain"], ""
    for number, (channels, cells) in enumerate(sizes[1:], 1):
        tried = replace(plan, channels=channels, cells=cells)
        (stage,) = measure(tried, SECONDS / 3, ("retrain",)).stages
        per_epoch = _seconds(_upper(stage)) / 10
        if per_epoch * _ENOUGH > left:
            longer = budget + per_epoch * _ENOUGH - left
            larger = (
                f"{channels} and {cells} cells would need a budget of {format_duration(longer)}"
            )
            break
        place, chosen = number, per_epoch
    most = paper_epochs(survey)
    retrained = max(_FEWEST["retrain"], min(most, math.floor(left / chosen)))
    for part, planned_epochs in epochs.items():
        whose = "enough" if part == "scorer" else "the paper's"
        why[f"{part}.epochs"] = _reason(planned_epochs, wanted[part], whose, each[part])
    why["retrain.epochs"] = _reason(retrained, most, "the paper's", chosen)
    why["retrain.channels"] = larger or "the paper's"
    return Plan(
        model,
        epochs.get("scorer", wanted["scorer"]),
        epochs.get("search", SEARCH_EPOCHS),
        *sizes[place],
        retrained,
        why,
    )


def _choose_scorer(
    survey: FolderSurvey,
    planned: float,
    plan: Plan,
    each: dict[str, float],
    measure: Callable[[Plan, float, Collection[str] | None], RunEstimate],
) -> tuple[str, dict[str, str]]:
    """Return the largest scorer that can be trained for its epochs in its share of the time."""
    if "scorer" not in each or len(scorers(survey)) == 1:
        return plan.scorer, {}
    large = scorers(survey)[-1]
    (stage,) = measure(replace(plan, scorer=large), SECONDS / 3, ("scorer",)).stages
    per_epoch = _seconds(_upper(stage)) / 10
    needed = per_epoch * scorer_epochs(survey)
    if needed > _SCORER * planned:
        budget = format_duration(needed / _SCORER / _MARGIN)
        return plan.scorer, {"scorer.model": f"light; {large} would need a budget of {budget}"}
    each["scorer"] = per_epoch
    return large, {"scorer.model": f"its {scorer_epochs(survey)} epochs fit; resnet8 is lighter"}


def _reason(epochs: int, wanted: int, whose: str, each: float) -> str:
    """Return why there are `epochs` of `each` seconds, where `wanted` would be better."""
    if epochs >= wanted:
        return whose
    more = format_duration((wanted - epochs) * each)
    return f"as many as fit; {wanted}, {whose}, would take {more} more"


def _shortened(plan: Plan, factor: float) -> Plan:
    """Return the plan with its epochs multiplied by `factor`, but no fewer than the least."""

    def fewer(stage: str, epochs: int) -> int:
        return max(_FEWEST[stage], math.floor(epochs * factor))

    return replace(
        plan,
        scorer_epochs=fewer("scorer", plan.scorer_epochs),
        search_epochs=fewer("search", plan.search_epochs),
        retrain_epochs=fewer("retrain", plan.retrain_epochs),
    )


class _Measure:
    """Estimates plans on the images, which are loaded once."""

    def __init__(
        self,
        survey: FolderSurvey,
        name: str,
        device: torch.device,
        console: Console,
        folder: Path,
    ) -> None:
        self._survey, self._name, self._device = survey, name, device
        self._console, self._folder = console, folder
        self._datasets = load_datasets(self._config(None))

    def __call__(self, plan: Plan, seconds: float, only: Collection[str] | None) -> RunEstimate:
        config, store = self._config(plan), Store(self._folder / "artifacts")
        runner = Runner(STAGES, config, self._datasets, store, self._device, self._console)
        return estimate(runner, seconds, only=only)

    def _config(self, plan: Plan | None) -> PipelineConfig:
        path = self._folder / "config.yaml"
        write_atomically(path, initial_config(self._survey, self._name, plan))
        return load_config(path)


def _upper(stage: StageEstimate) -> float:
    return (stage.hours if stage.high is None else stage.high) or 0.0


def _seconds(hours: float) -> float:
    return hours * 3600


def _too_short(budget: float, least: float) -> ConfigError:
    return ConfigError(
        f"--budget: found {format_duration(budget)}, but on this device the smallest run takes "
        f"about {format_duration(least)}; allowed: at least that, or fewer images"
    )
