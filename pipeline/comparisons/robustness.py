"""The paper's Tables 4 and 5 over several runs, with curves of accuracy under attack."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from matplotlib.figure import Figure

from evaluate.figures.robustness import compared_curves
from evaluate.published.rows import DATASET, NETWORK, TABLE_4, TABLE_5
from evaluate.published.tables import PAPER
from evaluate.robustness.measure import describe_attack, describe_epsilon, named_attacks
from pipeline.comparisons.comparison import ComparedRun, Comparison
from pipeline.comparisons.numbers import Values, columns_of, describe_means
from pipeline.reports.page import fill, markdown_table
from pipeline.reports.robustness_sections import AUPR, SHIFT, Key, chance_aupr

_CLEAN: Key = ("white-box", "clean")  # shown with the white-box attacks
_NOT_MEASURED = "**Published figures**, the paper's, not measured here"


def values_of(entry: ComparedRun) -> Values:
    """Return percentages by part of the tables and column."""
    result, steps = entry.result, entry.settings["robustness"]["steps"]
    found: dict[Key, float | None] = {_CLEAN: 100 * result["clean"]["accuracy"]}
    for (source, name), attack in named_attacks(result).items():
        for point in attack["curve"]:
            column = f"{describe_attack(name, steps)} {describe_epsilon(point['epsilon'])}"
            found[source, column] = 100 * point["accuracy"]
    for name, (key, field) in SHIFT.items():
        if name in result["shift"]:
            found[key] = 100 * result["shift"][name][field]
    return found


def pages(comparison: Comparison, pictures: Sequence[str]) -> dict[str, str]:
    """Return the tables and pictures as Markdown, by file name; Table 4 only if a run has an
    AUPR."""
    every = [values_of(entry) for c in comparison.contenders for entry in c.entries]
    keys = list(dict.fromkeys(key for values in every for key in values))
    parts = {part: [key for key in keys if key[0] == part] for part, _ in keys}
    strange = {part: found for part, found in parts.items() if found[0][1] == AUPR}
    attacked = {part: found for part, found in parts.items() if part not in strange}
    pages = {"table4.md": _table_4(comparison, strange)} if strange else {}
    return pages | {"table5.md": _table_5(comparison, attacked, pictures)}


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Return the curves by file name."""
    results = {c.label: [entry.result for entry in c.entries] for c in comparison.contenders}
    return {"robustness": compared_curves(results)}


def beside(comparison: Comparison) -> dict[str, Any]:
    """Return what comparison.json holds beside the runs' values."""
    return {"published": published()}


def published() -> dict[str, Any]:
    """Return the paper's rows as JSON values, with their source."""
    return {
        "source": PAPER,
        "measured_here": False,
        "network": NETWORK,
        "dataset": DATASET,
        "table_4": [vars(row) for row in TABLE_4],
        "table_5": [vars(row) for row in TABLE_5],
    }


def _table_5(
    comparison: Comparison, parts: Mapping[str, Sequence[Key]], pictures: Sequence[str]
) -> str:
    settings = comparison.settings
    starts = f"{settings['restarts']} random start{'s' if settings['restarts'] > 1 else ''}"
    lines = [
        f"# Table 5: {comparison.title}",
        "",
        fill(
            f"Top-1 accuracy (%) on {_images(comparison)} {comparison.evaluated} images, under "
            f"L∞ attacks of the ε in each column's title; PGD in {settings['steps']} steps of "
            f"{describe_epsilon(settings['step'])} from {starts}.",
            describe_means(comparison, differences=True),
        ),
    ]
    for part, keys in parts.items():
        columns = columns_of(comparison, values_of, {k: k[1] for k in keys}, differences=True)
        lines += ["", f"## Measured here: {part}", "", markdown_table(columns)]
    lines += _substitutes(comparison)
    lines += [line for name in pictures for line in ("", f"![Accuracy under attack]({name})")]
    lines += [
        "",
        "## The paper's Table 5",
        "",
        fill(
            f"{_NOT_MEASURED}: {NETWORK} on {DATASET}, ε = 8/255, gray-box from a ResNet-50 of "
            "another seed, black-box from a ResNet-152. In parentheses: the difference from the "
            "baseline."
        ),
        "",
        markdown_table(_published_5()),
    ]
    return "\n".join(lines) + "\n"


def _table_4(comparison: Comparison, parts: Mapping[str, Sequence[Key]]) -> str:
    titles = {keys[0]: f"{part} {AUPR}" for part, keys in parts.items()}
    chance = {
        name: chance_aupr(shift)
        for contender in comparison.contenders
        for entry in contender.entries
        for name, shift in entry.result["shift"].items()
        if "aupr" in shift
    }
    chances = ", ".join(f"{value:.2f} % ({SHIFT[name][0][0]})" for name, value in chance.items())
    lines = [
        f"# Table 4: {comparison.title}",
        "",
        fill(
            "How well low confidence separates images of unknown classes from the "
            f"{comparison.evaluated} images: area under the precision-recall curve (AUPR). Chance "
            f"level: {chances}.",
            describe_means(comparison, differences=True),
        ),
        "",
        "## Measured here",
        "",
        markdown_table(columns_of(comparison, values_of, titles, differences=True)),
        "",
        "## The paper's Table 4",
        "",
        f"{_NOT_MEASURED}: {NETWORK} on {DATASET}.",
        "",
        markdown_table(
            {
                "classifier (published)": [row.method for row in TABLE_4],
                f"ImageNet-O {AUPR}": [f"{row.aupr:.2f}" for row in TABLE_4],
            }
        ),
    ]
    return "\n".join(lines) + "\n"


def _published_5() -> dict[str, list[str]]:
    titles = ("white-box FGSM", "gray-box PGD", "black-box PGD", "ImageNet-A")
    base = astuple(TABLE_5[0])
    columns = {"classifier (published)": [row.method for row in TABLE_5]}
    for place, title in enumerate(titles, 1):
        values = [astuple(row)[place] for row in TABLE_5]
        columns[title] = [f"{values[0]:.2f}"]
        columns[title] += [f"{value:.2f} ({value - base[place]:+.2f})" for value in values[1:]]
    return columns


def _substitutes(comparison: Comparison) -> list[str]:
    """Return a remark if the runs' gray-box and black-box attacks used different models."""
    entries = [entry for contender in comparison.contenders for entry in contender.entries]
    weights = {str([s["weights"] for s in e.settings["substitutes"]]) for e in entries}
    if len(weights) == 1:
        return []
    return ["", "Gray-box and black-box: the runs were attacked from different substitutes."]


def _images(comparison: Comparison) -> str:
    """Return the number of attacked images, or all such numbers if runs differ."""
    entries = [entry for contender in comparison.contenders for entry in contender.entries]
    return " or ".join(sorted({f"{entry.result['images']:,}" for entry in entries}))
