"""Contests of several runs: found, random and published architectures over seeds."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from evaluate.improvement import Improvement, improvement_over_seeds
from pipeline.comparisons.comparison import ComparedRun, Comparison
from pipeline.comparisons.numbers import Values
from pipeline.reports.page import fill, markdown_table
from pipeline.reports.seed_groups import spread
from pipeline.stages.width import of_budget

PAGE = "contests.md"

_KINDS = ("found", "earlier epoch", "random", "published")


def values_of(entry: ComparedRun) -> Values:
    """Return the mean held-out accuracy (%) after the first round of each kind of contestants."""
    return {
        (kind, "held-out accuracy (%)"): 100 * mean(found)
        for kind in _KINDS
        if (found := _accuracies(entry, kind))
    }


def pages(comparison: Comparison, pictures: Sequence[str]) -> dict[str, str]:
    """Return the table of found, random and published accuracies as Markdown, by file name."""
    groups, improved = _groups(comparison), beside(comparison)["over_random"]
    columns = {
        "architectures": list(groups),
        "seeds": [str(len(by_seed)) for by_seed in groups.values()],
        "networks": [str(sum(map(len, by_seed.values()))) for by_seed in groups.values()],
        "held-out accuracy (%)": [
            spread([100 * mean(each) for each in by_seed.values()], 2)
            for by_seed in groups.values()
        ],
        "over random, relative (%)": [_cell(improved.get(name)) for name in groups],
    }
    lines = [
        "# Contests: found, random and published architectures under equal training",
        "",
        fill(
            "Accuracy after the first round on the held-out part of the target's train: mean ± "
            "sample standard deviation over seeds of each seed's mean. In brackets the 95 % "
            "interval of a hierarchical bootstrap, which draws seeds and in each drawn seed "
            "architectures; of published ones too. Each seed is compared with its own random "
            "architectures.",
        ),
        "",
        markdown_table(columns),
        "",
        *(
            f"{first} over {second}, relative: {_cell(found)} %"
            for (first, second), found in _between(comparison, groups).items()
        ),
    ]
    return {PAGE: "\n".join(lines).rstrip() + "\n"}


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Return no figures: the table holds all."""
    return {}


def beside(comparison: Comparison) -> dict[str, Any]:
    """Return the relative improvements over random architectures by name, and those of one
    contender's found architectures over another's."""
    groups = _groups(comparison)
    random = groups.get("random", {})
    over = {
        name: improvement_over_seeds(by_seed, random, 0)
        for name, by_seed in groups.items()
        if name != "random"
    }
    return {
        "over_random": {name: _record(each) for name, each in over.items()},
        "between": {
            f"{first} over {second}": each
            for (first, second), each in _between(comparison, groups).items()
        },
    }


def _between(
    comparison: Comparison, groups: Mapping[str, Mapping[int, Sequence[float]]]
) -> dict[tuple[str, str], dict[str, Any] | None]:
    names = [_found(each.label) for each in comparison.contenders if _found(each.label) in groups]
    return {
        (names[0], other): _record(improvement_over_seeds(groups[names[0]], groups[other], 0))
        for other in names[1:]
    }


def _groups(comparison: Comparison) -> dict[str, dict[int, Sequence[float]]]:
    """Return the accuracies by seed of each contender's found architectures, and of random and
    published ones: these are the same in all contenders, so the first that has them counts."""
    groups: dict[str, dict[int, Sequence[float]]] = {}
    for contender in comparison.contenders:
        for entry in contender.entries:
            for kind in _KINDS:
                name = kind if kind in ("random", "published") else _found(contender.label, kind)
                accuracies = _accuracies(entry, kind)
                if accuracies:
                    groups.setdefault(name, {}).setdefault(entry.seed, accuracies)
    order = [name for name in groups if name not in ("random", "published")]
    return {name: groups[name] for name in (*order, "random", "published") if name in groups}


def _found(label: str, kind: str = "found") -> str:
    return f"{kind}, {label}"


def _accuracies(entry: ComparedRun, kind: str) -> list[float]:
    """Return those after the first round; of several budgets those of the first."""
    contestants = of_budget(entry.result["contestants"], 0)
    return [each["held_out_accuracies"][0] for each in contestants if each["kind"] == kind]


def _record(found: Improvement | None) -> dict[str, Any] | None:
    return None if found is None else vars(found) | {"includes_zero": found.includes_zero}


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    value = f"{100 * found['value']:+.2f}"
    if found["low"] is None:
        return value
    return f"{value} [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"
