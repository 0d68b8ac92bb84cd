"""The paper's Figure 3 over several runs, with numbers."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from evaluate.figures.landscape import landscape_figures, split_name
from evaluate.landscape.mean import RISE, half_width, mean_landscape, sharpness
from evaluate.published.rows import FIGURE_3
from evaluate.published.tables import PAPER
from pipeline.comparisons.comparison import ComparedRun, Comparison
from pipeline.comparisons.numbers import Values, columns_of, describe_means
from pipeline.reports.page import fill, markdown_table
from pipeline.reports.robustness_sections import Key

PAGE = "figure3.md"

_LOSS: Key = ("trained weights", "loss (nats)")
_ACCURACY: Key = ("trained weights", "top-1 accuracy (%)")
_TRACE: Key = ("Hessian", "trace")
_WIDTH: Key = ("line", "half-width (α)")


def values_of(entry: ComparedRun) -> Values:
    """Return the values by part and column; None if a loss is not finite, or if the half-width is
    beyond the end of the line."""
    result = entry.result
    found: dict[Key, float | None] = {
        _LOSS: result["trained"]["loss"],
        _ACCURACY: 100 * result["trained"]["accuracy"],
        _WIDTH: half_width(result),
    }
    sigmas = result["noise"]["sigmas"] if result["noise"] else []
    for sigma, rise in zip(sigmas, sharpness(result), strict=True):
        found["noise", f"σ = {sigma:g}"] = rise
    if result["hessian"]:
        for number, value in enumerate(result["hessian"]["eigenvalues"], 1):
            found["Hessian", f"λ{number}"] = value
        found[_TRACE] = result["hessian"]["trace"]
    return found


def pages(comparison: Comparison, pictures: Sequence[str]) -> dict[str, str]:
    """Return the tables and pictures as Markdown, by file name."""
    every = [values_of(entry) for c in comparison.contenders for entry in c.entries]
    keys = list(dict.fromkeys(key for values in every for key in values if values[key] is not None))
    first = comparison.contenders[0].entries[0].result
    split = split_name(first, comparison.evaluated)
    losses = columns_of(comparison, values_of, {_LOSS: _LOSS[1]}, digits=3)
    losses |= columns_of(comparison, values_of, {_ACCURACY: _ACCURACY[1]})
    losses |= columns_of(comparison, values_of, {_WIDTH: _WIDTH[1]}, digits=3)
    noise = {key: key[1] for key in keys if key[0] == "noise"}
    hessian = {key: key[1] for key in keys if key[0] == "Hessian"}
    lines = [
        f"# Figure 3: {comparison.title}",
        "",
        fill(
            f"{first['images']:,} {split} images; BatchNorm in {first['batch_norm']}.",
            describe_means(comparison),
        ),
        "",
        "## Measured here: loss",
        "",
        markdown_table(losses),
        "",
        fill(
            "Half-width: distance along a random filter-normalised direction at which the loss "
            f"has risen by {RISE:g} nat, averaged over both sides; wider is flatter (1: the norm "
            f"of each filter; –: beyond {comparison.settings['radius']:g} on a side). This measure "
            "is ours: the paper has only pictures."
        ),
    ]
    if noise:
        columns = columns_of(comparison, values_of, noise, digits=3)
        text = (
            "Rise of the loss in nats under Gaussian noise of σ on the weights, averaged over "
            f"{first['noise']['draws']} draws (expected sharpness, Neyshabur et al. 2017); less is "
            "flatter."
        )
        lines += ["", "## Measured here: noise", "", markdown_table(columns), "", fill(text)]
    if hessian:
        columns = columns_of(comparison, values_of, hessian)
        lines += ["", "## Measured here: the loss's Hessian", "", markdown_table(columns)]
    lines += [line for name in pictures for line in ("", f"![{name}]({name})")]
    several = any(len(contender.entries) > 1 for contender in comparison.contenders)
    if several and first["plane"]:
        lines += ["", "Surfaces are those of each classifier's first seed."]
    lines += ["", "## The paper's", "", fill(FIGURE_3)]
    return {PAGE: "\n".join(lines) + "\n"}


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Return the pictures by file name."""
    return landscape_figures(
        {c.label: mean_landscape([e.result for e in c.entries]) for c in comparison.contenders},
        comparison.evaluated,
    )


def beside(comparison: Comparison) -> dict[str, Any]:
    """Return what comparison.json holds beside the runs' values."""
    return {"published": published()}


def published() -> dict[str, Any]:
    """Return the paper's statement as JSON values, with its source."""
    return {"source": PAPER, "measured_here": False, "figure_3": FIGURE_3}
