"""The choices that follow from the time there is: models, networks, epochs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from classification.data.folder_survey import FolderSurvey
from classification.durations import format_duration
from pipeline.estimates.expected import RunEstimate
from pipeline.initial.shapes import FILES_FROM, SEARCH_SIDE, batch_of, search_side, target_side

FEWEST = {"scorer": 5, "search": 6, "retrain": 5}  # epochs
_MARGIN = 0.85  # of the time is planned, for errors of measuring
_SCORER, _SEARCH = 0.2, 0.35  # largest shares of the time
_ENOUGH = 40  # epochs of retraining, from which on a larger network is preferred to more epochs
_SCORER_STEPS = 1500  # 15 epochs of CIFAR-100 in batches of 512, as configs/scorers/fast.yaml
_SEARCH_EPOCHS, _WARM_UP = 50, 0.3  # the paper's: 15 of 50 epochs are warm-up
_PRECISION = 1e-3  # of the budget that a larger network would need
# Channels and cells of the retrained network, from small to the paper's.
_CIFAR = ((8, 5), (16, 8), (24, 14), (36, 20))
_IMAGENET = ((12, 6), (16, 8), (32, 11), (48, 14))


@dataclass(frozen=True)
class Plan:
    """Models, networks and epochs, and the reason for each by its dotted key."""

    scorer: str
    scorer_epochs: int
    search_epochs: int
    channels: int
    cells: int
    retrain_epochs: int
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def warmup_epochs(self) -> int:
        """Warm-up epochs of the search, in proportion to its epochs."""
        return round(_WARM_UP * self.search_epochs)


@dataclass(frozen=True)
class Rates:
    """Measured seconds: of an epoch of each scorer, of the search, and of each network from the
    smallest on; `fixed` of the stages that are the same in every plan."""

    scorers: Mapping[str, float]
    search: float
    networks: tuple[float, ...]
    fixed: float

    def corrected(self, survey: FolderSurvey, plan: Plan, found: RunEstimate) -> "Rates":
        """Return the rates with those of the plan's models by an estimate of its complete run."""
        cost = {each.stage: found.wall_seconds(each.highest) for each in found.stages}
        scorers, measured = dict(self.scorers), list(self.networks)
        if scorers:
            scorers[plan.scorer] = cost.pop("scorer") / plan.scorer_epochs
        place = networks(survey).index((plan.channels, plan.cells))
        measured[place] = cost.pop("retrain") / plan.retrain_epochs
        search = cost.pop("search") / plan.search_epochs
        return Rates(scorers, search, tuple(measured), sum(cost.values()))


def smallest_plan(survey: FolderSurvey) -> Plan:
    """Return the plan with the lightest models and the fewest epochs."""
    channels, cells = networks(survey)[0]
    return Plan(
        scorers(survey)[0],
        FEWEST["scorer"],
        FEWEST["search"],
        channels,
        cells,
        FEWEST["retrain"],
    )


def allot(survey: FolderSurvey, rates: Rates, seconds: float) -> Plan:
    """Return the plan for a run of `seconds`, without reasons; it has at least the fewest epochs.

    The scorer and the search get shares of the time; the retraining gets the rest, in the largest
    of the measured networks that can be trained for enough epochs.
    """
    planned = _MARGIN * seconds
    model, scored, spent = scorers(survey)[0], scorer_epochs(survey), rates.fixed
    if rates.scorers:
        fits = [
            name
            for name, each in rates.scorers.items()
            if each * scorer_epochs(survey) <= _SCORER * planned
        ]
        model = fits[-1] if fits else model
        scored = _epochs("scorer", scored, _SCORER * planned / rates.scorers[model])
        spent += scored * rates.scorers[model]
    searched = _epochs("search", _SEARCH_EPOCHS, _SEARCH * planned / rates.search)
    left = planned - spent - searched * rates.search
    place = 0
    while place + 1 < len(rates.networks) and rates.networks[place + 1] * _ENOUGH <= left:
        place += 1
    retrained = _epochs("retrain", paper_epochs(survey), left / rates.networks[place])
    return Plan(model, scored, searched, *networks(survey)[place], retrained)


def explained(survey: FolderSurvey, rates: Rates, plan: Plan, seconds: float) -> Plan:
    """Return `plan`, made for `seconds` by the rates, with its reasons."""

    def share(part: float) -> str:
        return f"in {format_duration(part * _MARGIN * seconds)}"

    why = {
        "search.epochs": _reason(
            plan.search_epochs, _SEARCH_EPOCHS, "the paper's", rates.search, share(_SEARCH)
        )
    }
    if rates.scorers:
        wanted, each = scorer_epochs(survey), rates.scorers[plan.scorer]
        why["scorer.epochs"] = _reason(plan.scorer_epochs, wanted, "enough", each, share(_SCORER))
        heaviest, most = list(rates.scorers.items())[-1]
        if len(rates.scorers) > 1 and plan.scorer != heaviest:
            budget = format_duration(most * wanted / _SCORER / _MARGIN)
            why["scorer.model"] = f"light; {heaviest} would need a budget of {budget}"
        elif len(rates.scorers) > 1:
            why["scorer.model"] = f"its {wanted} epochs fit; {scorers(survey)[0]} is lighter"
    place = networks(survey).index((plan.channels, plan.cells))
    each, most_epochs = rates.networks[place], paper_epochs(survey)
    why["retrain.epochs"] = _reason(
        plan.retrain_epochs, most_epochs, "the paper's", each, "in the rest of the time"
    )
    if place + 1 == len(networks(survey)):
        why["retrain.channels"] = "the paper's"
    elif place + 1 < len(rates.networks):
        channels, cells = networks(survey)[place + 1]
        budget = format_duration(_needed(survey, rates, place + 1, seconds))
        why["retrain.channels"] = f"{channels} with {cells} cells would need a budget of {budget}"
    return replace(plan, why=why)


def describe_shares(seconds: float) -> str:
    """Return how a budget of `seconds` is divided."""
    return (
        f"Planned for {format_duration(_MARGIN * seconds)}, as {1 - _MARGIN:.0%} are kept in "
        f"reserve: up to {_SCORER:.0%} for the scorer, up to {_SEARCH:.0%} for the search, the "
        "rest for retraining"
    )


def networks(survey: FolderSurvey) -> tuple[tuple[int, int], ...]:
    """Return channels and cells of the networks to choose from, small to large."""
    return _IMAGENET if target_side(survey) >= FILES_FROM else _CIFAR


def paper_epochs(survey: FolderSurvey) -> int:
    """Return the epochs of the paper's retraining."""
    return 250 if target_side(survey) >= FILES_FROM else 600


def scorers(survey: FolderSurvey) -> tuple[str, ...]:
    """Return the scorers to choose from, light to heavy; resnet9 is too deep for tiny images."""
    return ("resnet8",) if search_side(survey) < SEARCH_SIDE // 2 else ("resnet8", "resnet9")


def scorer_epochs(survey: FolderSurvey) -> int:
    """Return the epochs after which a scorer has learnt enough."""
    images = survey.train_images
    batch = batch_of(images, share=16, most=512)
    return max(15, min(60, math.ceil(_SCORER_STEPS * batch / images)))


def _epochs(stage: str, wanted: int, fits: float) -> int:
    return max(FEWEST[stage], min(wanted, math.floor(fits)))


def _needed(survey: FolderSurvey, rates: Rates, place: int, seconds: float) -> float:
    """Return the least seconds, found by bisection from `seconds` on, for which the network at
    `place` is chosen."""

    def chosen(budget: float) -> bool:
        plan = allot(survey, rates, budget)
        return networks(survey).index((plan.channels, plan.cells)) >= place

    low = high = seconds
    while not chosen(high):
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if chosen(middle) else (middle, high)
    return high


def _reason(epochs: int, wanted: int, source: str, each: float, where: str) -> str:
    """Return why there are `epochs` of `each` seconds: they fit `where`; `wanted` would be
    better."""
    if epochs >= wanted:
        return source
    more = format_duration((wanted - epochs) * each)
    return f"as many as fit {where}; {wanted}, {source}, would take {more} more"
