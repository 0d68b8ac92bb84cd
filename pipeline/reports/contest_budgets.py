"""Widths and budgets of a contest's contestants, for its report section."""

from collections.abc import Mapping
from typing import Any

from pipeline.stages.width import widths_of


def describe_widths(
    contestant: Mapping[str, Any], widths: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the content of width.json of a contestant, and with several budgets of each of its."""
    if widths is None:
        return {"width": None}
    own = widths_of(contestant, widths)
    return {"width": own[0]} | ({"widths": own} if "budgets" in contestant else {})


def width_for(contestant: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """Return the content of width.json of a contestant for one of several budgets."""
    found: dict[str, Any] = contestant["widths"][contestant["budgets"].index(budget)]
    return found


def budget_table(contest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every budget: its limits, contestants and winner, and found over random."""
    named = {each["name"]: each for each in contest["contestants"]}
    winners = [named[each["winner"]] for each in contest["budgets"]]
    limits = [
        ", ".join(
            f"{key.replace('_', '-')} {value if isinstance(value, str) else f'{value:,}'}"
            for key, value in each["budget"].items()
        )
        for each in contest["budgets"]
    ]
    kinds = [each["first_round"].values() for each in contest["budgets"]]
    improvements = [each["relative_improvement"] for each in contest["budgets"]]
    return {
        "budget": [f"{number}: {limit}" for number, limit in enumerate(limits, 1)],
        "contestants": [str(sum(kind["n"] for kind in own)) for own in kinds],
        "winner": [each["name"] for each in winners],
        "parameters to retrain": [
            f"{width_for(each, number)['parameters']:,}" for number, each in enumerate(winners)
        ],
        "multiply-adds to retrain (M)": [
            f"{width_for(each, number)['multiply_adds'] / 1e6:.2f}"
            for number, each in enumerate(winners)
        ],
        "held-out accuracy, round 1 (%)": [
            f"{100 * each['held_out_accuracies'][0]:.2f}" for each in winners
        ],
        "found over random, relative (%)": [relative_in_words(each) for each in improvements],
    }


def relative_in_words(found: Mapping[str, Any] | None) -> str:
    """Return the relative improvement in percent and its interval."""
    if found is None:
        return "–"
    return f"{100 * found['value']:+.2f} {_interval(found)}"


def _interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return "no interval with one random architecture"
    return f"[{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"


def limit_of(out: Mapping[str, Any]) -> str:
    """Return which of several budgets a contestant did not keep, as the begin of a reason."""
    return f"budget {out['budget'] + 1}, " if "budget" in out else ""
