"""Charts of what was recorded epoch by epoch: loss and accuracy, α and β."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pcdarts.genotype import EDGES_PER_NODE, normalize_edges
from pcdarts.operations import OPERATIONS
from pipeline.reports.html.chart import Chart, Series, line_chart

Row = Mapping[str, Any]

_LOSSES = {"loss": ("train", 0), "architecture_loss": ("architecture part", 2)}
_ACCURACIES = {"accuracy": ("train", 0), "test_accuracy": ("test", 3)}
_SOURCES = ("k−2", "k−1", "node 0", "node 1", "node 2")
_CELLS = {"normal": "normal cell", "reduce": "reduction cell"}
WARM_UP = "warm-up: α, β frozen"


def training_charts(rows: Sequence[Row], what: str) -> list[Chart]:
    """Loss in nats and top-1 accuracy in percent over epochs, of those that were recorded."""
    charts = []
    for title, unit, keys, scale in (
        ("loss", "nats", _LOSSES | {"test_loss": ("test", 3)}, 1.0),
        ("top-1 accuracy", "%", _ACCURACIES, 100.0),
    ):
        series = []
        for key, (name, slot) in keys.items():
            points = [(row["epoch"], scale * row[key]) for row in rows if row.get(key) is not None]
            if points:
                series.append(Series(name, points, slot, dashed=slot != 0))
        if series:
            alt = f"{what}: {title} ({unit}) over {_epochs(rows)}. {_ends(series)}"
            charts.append(_over_epochs(title, unit, alt, series, rows))
    return charts


def alpha_charts(rows: Sequence[Row]) -> list[Chart]:
    """softmax(α) an operation, the mean over a cell's edges, for both kinds of cell."""
    if not rows:
        return []
    charts = []
    for cell, name in _CELLS.items():
        alphas = torch.tensor([row["alphas"][cell] for row in rows])  # [epochs, edges, operations]
        shares = alphas.softmax(2).mean(1)
        series = _lines(rows, OPERATIONS, shares)
        last = {each.name: each.points[-1][1] for each in series}
        first = max(last, key=lambda operation: last[operation])
        alt = (
            f"Share of each operation in the {name} over {_epochs(rows)}, softmax of α, mean over "
            f"its edges. At the end {first} leads with {last[first]:.3f}; equal shares are "
            f"{1 / len(OPERATIONS):.3f}."
        )
        rule = 1 / len(OPERATIONS)
        charts.append(_over_epochs(f"α, {name}", "softmax(α), mean over edges", alt, series, rows,
                                   rule))  # fmt: skip
    return charts


def beta_charts(rows: Sequence[Row], cell: str) -> list[Chart]:
    """softmax(β) of the edges that enter each node of one kind of cell, a chart a node."""
    if not rows:
        return []
    betas = torch.stack([normalize_edges(torch.tensor(row["betas"][cell])) for row in rows])
    charts = []
    for node, part in enumerate(betas.split(EDGES_PER_NODE, 1)):
        series = _lines(rows, _SOURCES[: part.shape[1]], part)
        alt = (
            f"Weight of each edge into node {node} of the {_CELLS[cell]} over {_epochs(rows)}, "
            f"softmax of β. {_ends(series)}"
        )
        title = f"β into node {node}"
        charts.append(_over_epochs(title, "softmax(β)", alt, series, rows, 1 / part.shape[1]))
    return charts


def _lines(rows: Sequence[Row], names: Sequence[str], values: torch.Tensor) -> list[Series]:
    """A series a column of `values` [epochs, names]."""
    epochs = [row["epoch"] for row in rows]
    return [
        Series(name, list(zip(epochs, column.tolist(), strict=True)), slot, dashed=slot % 2 == 1)
        for slot, (name, column) in enumerate(zip(names, values.T, strict=True))
    ]


def _over_epochs(
    title: str,
    y_label: str,
    alt: str,
    series: Sequence[Series],
    rows: Sequence[Row],
    rule: float | None = None,
) -> Chart:
    frozen = [row["epoch"] for row in rows if row.get("warmup")]
    band = (min(frozen) - 0.5, max(frozen) + 0.5) if frozen else None
    if band is not None:
        alt += f" The warm-up, epochs {min(frozen)} to {max(frozen)}, is shaded."
    return line_chart(
        title, alt, ("epoch", y_label), series, band=band, band_name=WARM_UP, rule=rule
    )


def _epochs(rows: Sequence[Row]) -> str:
    return "1 epoch" if len(rows) == 1 else f"{len(rows)} epochs"


def _ends(series: Sequence[Series]) -> str:
    """How every line began and ended, in words."""
    parts = [f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series]
    return "; ".join(parts) + "."
