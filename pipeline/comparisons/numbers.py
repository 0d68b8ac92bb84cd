"""Numbers of a comparison: mean and deviation over seeds, as table cells and as JSON values."""

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any

from evaluate.statistics import paired_difference, summarise_seeds
from pipeline.comparisons.comparison import ComparedRun, Comparison, Contender
from pipeline.reports.results import hours_of
from pipeline.reports.robustness_sections import Key
from pipeline.reports.seed_groups import spread

Values = Mapping[Key, float | None]
ValuesOf = Callable[[ComparedRun], Values]

CLASSIFIER, SEEDS = "classifier", "n"  # titles of the first two columns


def columns_of(
    comparison: Comparison,
    values_of: ValuesOf,
    keys: Mapping[Key, str],
    digits: int = 2,
    differences: bool = False,
) -> dict[str, list[str]]:
    """Return a table's columns by the titles in `keys`, with a row per contender.

    A cell is the mean ± sample standard deviation over seeds and, with `differences`, in
    parentheses the difference from the mean of the baseline, if there is one.
    """
    contenders, baseline = comparison.contenders, comparison.baseline
    columns = {
        CLASSIFIER: [contender.label for contender in contenders],
        SEEDS: [str(len(contender.entries)) for contender in contenders],
    }
    for key, title in keys.items():
        base = measured(baseline, values_of, key) if differences and baseline else {}
        columns[title] = [
            _cell(c, measured(c, values_of, key), {} if c is baseline else base, digits)
            for c in contenders
        ]
    return columns


def measured(contender: Contender, values_of: ValuesOf, key: Key) -> dict[int, float]:
    """Return the values of `key` by seed, for the seeds that measured it. Empty if one of them is
    not finite, since the mean of the others would be too favourable."""
    every = {entry.seed: values_of(entry) for entry in contender.entries}
    found = {seed: values[key] for seed, values in every.items() if key in values}
    known = {seed: value for seed, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


def describe_means(comparison: Comparison, differences: bool = False) -> str:
    """Return sentences that explain the cells of `columns_of`; empty if they are plain values."""
    sentences = []
    if any(len(contender.entries) > 1 for contender in comparison.contenders):
        sentences.append("Mean ± sample standard deviation over n seeds.")
    if differences and comparison.baseline and len(comparison.contenders) > 1:
        label = comparison.baseline.label
        sentences.append(f"In parentheses: the difference from {label}.")
    return " ".join(sentences)


def numbers(comparison: Comparison, values_of: ValuesOf) -> dict[str, Any]:
    """Return the comparison as JSON values; differences from the baseline are paired by seed."""
    baseline = comparison.baseline
    return {
        "stage": comparison.stage,
        "title": comparison.title,
        "settings": comparison.settings,
        "differences_from": baseline.label if baseline else None,
        "classifiers": [_classifier(c, baseline, values_of) for c in comparison.contenders],
    }


def _classifier(
    contender: Contender, baseline: Contender | None, values_of: ValuesOf
) -> dict[str, Any]:
    keys = dict.fromkeys(key for entry in contender.entries for key in values_of(entry))
    return {
        "classifier": contender.label,
        "n": len(contender.entries),
        "runs": [
            {
                "name": entry.name,
                "seed": entry.seed,
                "of": entry.result["of"],
                "cost": {"unit": entry.cost.unit, "hours": hours_of(entry.cost)},
            }
            for entry in contender.entries
        ],
        "values": [_value(key, contender, baseline, values_of) for key in keys],
    }


def _value(
    key: Key, contender: Contender, baseline: Contender | None, values_of: ValuesOf
) -> dict[str, Any]:
    values = measured(contender, values_of, key)
    base = measured(baseline, values_of, key) if baseline else {}
    paired = baseline is not contender and bool(values.keys() & base.keys())
    return {
        "part": key[0],
        "column": key[1],
        "by_seed": {str(e.seed): values_of(e).get(key) for e in contender.entries},
        "summary": vars(summarise_seeds(list(values.values()))) if values else None,
        "difference": vars(paired_difference(values, base)) if paired else None,
    }


def _cell(
    contender: Contender, values: Mapping[int, float], base: Mapping[int, float], digits: int
) -> str:
    if not values:
        return "–"
    text = spread(list(values.values()), digits)
    if len(values) < len(contender.entries):
        text += f" (n = {len(values)})"
    if base:
        difference = round(mean(values.values()) - mean(base.values()), digits)
        text += f" ({difference + 0.0:+.{digits}f})"  # + 0.0: no -0.00
    return text
