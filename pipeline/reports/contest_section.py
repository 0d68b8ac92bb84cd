"""Report section on a contest: whether the search paid, and at what cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from classification.persistence.untrusted_files import read_object
from evaluate.figures.contest import Candidate, contest_front
from evaluate.improvement import relative_improvement
from evaluate.statistics import sample_deviation
from pipeline.reports.contest_budgets import (
    budget_table,
    describe_widths,
    limit_of,
    relative_in_words,
    width_for,
)
from pipeline.reports.page import show_cost
from pipeline.reports.picture import Picture
from pipeline.reports.results import hours_of
from pipeline.reports.robustness_sections import Section
from pipeline.stages.contest import LATENCY
from pipeline.stages.width import CONTEST, WIDTHS, of_budget
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

TITLE = "The contest"


def collect_contest(artifact: Artifact, store: Store, seed: int) -> dict[str, Any]:
    """Return the contest's results for results.json: the contestants, and found against random.

    All accuracies that are compared are those after the first round, in which all contestants
    trained equally. With several budgets, found and random are compared within each; the answer
    for the first, whose winner is retrained, is that of the contest.
    """
    contest = read_object(artifact.path / CONTEST)
    latency = read_object(artifact.path / LATENCY)
    budgeted = artifact.path / WIDTHS
    widths = read_object(budgeted) if budgeted.exists() else None
    contestants = [
        each | {"latency_ms": ms, **describe_widths(each, widths)}
        for each, ms in zip(contest["contestants"], latency["ms"], strict=True)
    ]
    named = {each["name"]: each for each in contestants}
    budgets = [
        {"budget": width_for(named[winner], number)["budget"], "winner": winner}
        | _compare(of_budget(contestants, number), seed)
        for number, winner in enumerate(contest.get("winners", ()))
    ]
    attempts = store.ledger.attempts([artifact.fingerprint])
    return contest | {
        "contestants": contestants,
        "winner_kind": next(c["kind"] for c in contestants if c["name"] == contest["winner"]),
        **_compare(of_budget(contestants, 0), seed),
        **({"budgets": budgets} if budgets else {}),
        "latency_device": latency["device"],
        "cost": {"unit": Cost.of(attempts).unit, "hours": hours_of(Cost.of(attempts))},
    }


def _compare(contestants: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return the accuracies of each kind after the first round, and found over random."""
    found = relative_improvement(
        _accuracies(contestants, "found"), _accuracies(contestants, "random"), seed
    )
    return {
        "first_round": {
            kind: _describe(_accuracies(contestants, kind))
            for kind in dict.fromkeys(each["kind"] for each in contestants)
        },
        "relative_improvement": None
        if found is None
        else vars(found) | {"includes_zero": found.includes_zero},
    }


def show_contest(folder: Path, contest: Mapping[str, Any], evaluated: str) -> Section:
    """Return the section, and write its figure into `folder`. `evaluated` is the usual name of the
    images that the run is evaluated on."""
    rounds, images = contest["rounds"], contest["images"]
    first = rounds[0]
    text = (
        f"{contest['verdict']}\n\n{first['contestants']} contestants trained on "
        f"{images['train']:,} images of the target's train with the same settings, seed and number "
        f"of steps; accuracies are on the other {images['held_out']:,}. The images that the "
        f"run is evaluated on ({evaluated} images) were not used. "
        "Where data and target are the same images, a search may have seen some of these "
        "others.\n\n"
        f"Found, random and published are compared after round 1 ({_epochs(first)}), the "
        "only round in which all trained. Later rounds "
        f"({_later(rounds)}) choose the network to retrain: {contest['winner']}. Its accuracy in "
        "the last round is optimistic, because it was chosen by it."
    )
    text += (
        "\n\nMultiply-adds (of convolutions and classifier) and latency (median, one image, "
        f"untrained weights, {contest['latency_device']}) are those of the contest's networks."
    )
    text += _budget_in_words(contest)
    tables = [_summary(contest), _table(contest)]
    if "budgets" in contest:
        tables.insert(1, budget_table(contest))
    improvement = contest["relative_improvement"]
    if improvement is not None and improvement["found"] == 1:
        text += " With one search, the interval covers only the choice of the random architectures."
    pictures = [
        Picture.save(
            folder, "contest", _front(contest), "Held-out error against multiply-adds and latency"
        )
    ]
    hours = show_cost(contest["cost"]["hours"], contest["cost"]["unit"])
    return Section("contest", TITLE, text, tables, pictures, hours)


def verdict(contest: Mapping[str, Any], cost: Mapping[str, Any]) -> str:
    """Say in one sentence whether the search paid, and what it cost."""
    unit = cost["unit"]
    price = (
        f"at {show_cost(cost['search_alone'], unit)} for the search alone, "
        f"{show_cost(cost['total'], unit)} with all earlier stages, and "
        f"{show_cost(cost['contest'], unit)} for the contest"
    )
    found = contest["relative_improvement"]
    if found is None:
        return f"Whether the search paid was not tested, {_why_untested(contest)}: {price}."
    gain = f"{100 * found['value']:+.1f} %"
    if found["low"] is None:
        return (
            f"Whether the search paid is open ({gain} held-out accuracy relative to one random "
            f"architecture, too few for an interval): {price}."
        )
    numbers = (
        f"({gain} held-out accuracy of {found['found']} found relative to {found['random']} random "
        "architectures, 95 % interval "
        f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f} %"
    )
    if found["includes_zero"]:
        return f"It is not shown that the search paid {numbers}, which includes zero): {price}."
    answer = "The search paid" if found["value"] > 0 else "The search did not pay"
    return f"{answer} {numbers}): {price}."


def _why_untested(contest: Mapping[str, Any]) -> str:
    kinds = contest["first_round"]
    for kind in ("random", "found"):
        if kind not in kinds:
            fitting = " within the budget" if contest["out"] else ""
            return f"for lack of {kind} architectures{fitting}"
    return "because no random architecture classified an image correctly"


def _budget_in_words(contest: Mapping[str, Any]) -> str:
    """Say which width each contestant had, and which contestants are out."""
    if all(each["width"] is None for each in contest["contestants"]):
        return ""
    out = "; ".join(f"{each['name']} ({limit_of(each)}{each['excess']})" for each in contest["out"])
    several = ""
    if "budgets" in contest:
        several = (
            f"\n\nAn architecture entered once for each width that one of the "
            f"{len(contest['budgets'])} budgets chose for it; the rounds of each budget kept the "
            "best of its own contestants. The winner of the first budget is retrained, and the "
            "answer above and the first table are on the contestants of the first budget."
        )
    return (
        "\n\nEach contestant had the channels of its widest network within the budget, which "
        "counts the network to retrain; cells are those of contest.training."
        f"{several} " + (f"Out, because no width fits: {out}." if out else "All contestants fit.")
    )


def _summary(contest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Found, random and published after the first round, and the relative improvement."""
    kinds = contest["first_round"]
    columns = {
        f"round 1, {_epochs(contest['rounds'][0])}": list(kinds),
        "n": [str(each["n"]) for each in kinds.values()],
        "held-out accuracy (%)": [_with_deviation(each) for each in kinds.values()],
        "best (%)": [f"{100 * each['best']:.2f}" for each in kinds.values()],
    }
    found = contest["relative_improvement"]
    if found is not None:
        row = ("found over random, relative (%)", f"{found['found']} and {found['random']}")
        values = (*row, relative_in_words(found), "")
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def _table(contest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every contestant: size, and accuracy after each round in which it trained."""
    contestants = sorted(contest["contestants"], key=_rank)
    columns = {
        "contestant": [each["name"] for each in contestants],
        "kind": [each["kind"] for each in contestants],
        "channels": [str(each["channels"]) for each in contestants],
        "parameters": [f"{each['parameters']:,}" for each in contestants],
        "multiply-adds (M)": [f"{each['multiply_adds'] / 1e6:.2f}" for each in contestants],
        "with normalisation and activations (M)": [
            f"{each['all_multiply_adds'] / 1e6:.2f}" for each in contestants
        ],
        "latency (ms)": [f"{each['latency_ms']:.2f}" for each in contestants],
    }
    if "budgets" in contest:
        columns["budgets"] = [
            ", ".join(str(index + 1) for index in each["budgets"]) for each in contestants
        ]
    for index, each in enumerate(contest["rounds"]):
        columns[f"round {index + 1}, {_epochs(each)}"] = [
            f"{100 * found[index]:.2f}" if index < len(found) else "–"
            for found in (contestant["held_out_accuracies"] for contestant in contestants)
        ]
    return columns


def _front(contest: Mapping[str, Any]) -> Any:
    contestants = contest["contestants"]
    names = [each["name"] for each in contestants]
    return contest_front(
        [
            Candidate(
                each["name"],
                each["kind"],
                100 * (1 - each["held_out_accuracies"][0]),
                each["multiply_adds"],
                each["latency_ms"],
            )
            for each in contestants
        ],
        [names.index(name) for name in contest.get("winners", [contest["winner"]])],
        contest["latency_device"],
        len(contest["rounds"]),
    )


def _accuracies(contestants: Sequence[Mapping[str, Any]], kind: str) -> list[float]:
    """Return the accuracies of a kind of contestants after the first round."""
    return [each["held_out_accuracies"][0] for each in contestants if each["kind"] == kind]


def _describe(accuracies: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(accuracies),
        "mean": mean(accuracies),
        "std": sample_deviation(accuracies),
        "best": max(accuracies),
    }


def _with_deviation(found: Mapping[str, Any]) -> str:
    spread = "" if found["std"] is None else f" ± {100 * found['std']:.2f}"
    return f"{100 * found['mean']:.2f}{spread}"


def _later(rounds: Sequence[Mapping[str, int]]) -> str:
    later = [f"{each['contestants']} for {_epochs(each, 'more ')}" for each in rounds[1:]]
    return ", then ".join(later) or "none here"


def _epochs(each: Mapping[str, int], more: str = "") -> str:
    return f"{each['epochs']} {more}epoch{'' if each['epochs'] == 1 else 's'}"


def _rank(contestant: Mapping[str, Any]) -> tuple[int, float]:
    """Sort by the round reached, then by the accuracy in it."""
    accuracies = contestant["held_out_accuracies"]
    return -len(accuracies), -accuracies[-1]
