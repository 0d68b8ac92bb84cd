from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evaluate.figures.style import save_figure
from evaluate.figures.training import (
    EQUAL,
    WARM_UP,
    edge_trajectories,
    learning_curves,
    operation_trajectories,
)

ROWS = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.25},
    {"epoch": 2, "loss": 1.5, "accuracy": 0.5, "test_loss": 1.75, "test_accuracy": 0.375},
    {"epoch": 3, "loss": 1.0, "accuracy": 0.75},
    {"epoch": 4, "loss": 0.5, "accuracy": 1.0, "test_loss": 0.75, "test_accuracy": 0.875},
]


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in axes.get_lines()
    }


def warm_up_extent(axes: Axes) -> tuple[float, float] | None:
    for patch in axes.patches:
        if isinstance(patch, Rectangle) and patch.get_label() == WARM_UP:
            return patch.get_x(), patch.get_x() + patch.get_width()
    return None


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def search_rows(epochs: int, warm_up: int) -> list[dict[str, Any]]:
    """Two edges, two operations; α of the normal cell favours the second by ln 3 on one edge."""
    favour = float(np.log(3.0))
    alphas = {"normal": [[0.0, 0.0], [0.0, favour]], "reduce": [[5.0, 5.0], [1.0, 1.0]]}
    return [
        {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "warmup": epoch <= warm_up, "alphas": alphas}
        for epoch in range(1, epochs + 1)
    ]


def test_learning_curves_show_train_and_test_where_measured() -> None:
    loss, accuracy = learning_curves(ROWS, "retrain").axes
    assert lines(loss) == {
        "train": ([1, 2, 3, 4], [2.0, 1.5, 1.0, 0.5]),
        "test": ([2, 4], [1.75, 0.75]),
    }
    assert lines(accuracy) == {
        "train": ([1, 2, 3, 4], [25, 50, 75, 100]),
        "test": ([2, 4], [37.5, 87.5]),
    }


def test_learning_curves_carry_title_units_and_one_legend() -> None:
    figure = learning_curves(ROWS, "retrain")
    assert figure.get_suptitle() == "retrain"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "top-1 accuracy (%)"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert legend_names(figure) == ["train", "test"]


def test_learning_curves_of_a_search_start_the_architecture_loss_after_the_warm_up() -> None:
    rows = search_rows(epochs=4, warm_up=2)
    for row in rows:
        row["architecture_loss"] = None if row["warmup"] else 0.5
    loss, accuracy = learning_curves(rows, "search").axes
    assert lines(loss)["architecture half"] == ([3, 4], [0.5, 0.5])
    assert warm_up_extent(loss) == warm_up_extent(accuracy) == (0.5, 2.5)


def test_the_accuracy_axis_ends_near_100_percent() -> None:
    rows = [{"epoch": epoch, "loss": 0.0, "accuracy": 1.0} for epoch in (1, 2)]
    low, high = learning_curves(rows, "retrain").axes[1].get_ylim()
    assert low < 100 < high <= 101


def test_learning_curves_without_warm_up_are_not_shaded() -> None:
    assert warm_up_extent(learning_curves(ROWS, "retrain").axes[0]) is None


def test_a_single_epoch_is_a_visible_point(tmp_path: Path) -> None:
    figure = learning_curves(ROWS[:1], "retrain")
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    save_figure(figure, tmp_path / "one.png")


def test_no_epochs_are_stated(tmp_path: Path) -> None:
    figure = learning_curves([], "retrain")
    assert figure.axes[0].texts[0].get_text() == "no epoch recorded"
    save_figure(figure, tmp_path / "none.png")


def test_trajectories_are_the_softmax_averaged_over_edges() -> None:
    normal, reduce = operation_trajectories(search_rows(3, 1), ("none", "skip_connect")).axes
    # Edges give (1/2, 1/2) and (1/4, 3/4): means 3/8 and 5/8.
    assert lines(normal)["none (never chosen)"][1] == pytest.approx([0.375] * 3)
    assert lines(normal)["skip_connect"][1] == pytest.approx([0.625] * 3)
    assert lines(reduce)["none (never chosen)"][1] == pytest.approx([0.5] * 3)
    assert (normal.get_title(), reduce.get_title()) == ("normal cell", "reduction cell")


def test_small_differences_look_small() -> None:
    alphas = {"normal": [[0.004, *[0.0] * 7]], "reduce": [[0.0] * 8]}
    rows = [{"epoch": epoch, "warmup": False, "alphas": alphas} for epoch in (1, 2)]
    figure = operation_trajectories(rows, [f"operation {i}" for i in range(8)])
    assert [axes.get_ylim() for axes in figure.axes] == [(0, 0.5)] * 2
    alphas["normal"][0][0] = 5.0  # a share of 0.95
    low, high = operation_trajectories(rows, ["none"] * 8).axes[0].get_ylim()
    assert low == 0
    assert 0.95 < high <= 1
    betas = {"normal": [0.0] * 14, "reduce": [0.0] * 14}
    panels = edge_trajectories([{"epoch": 1, "warmup": False, "betas": betas}]).axes
    assert {axes.get_ylim() for axes in panels} == {(0, 1)}


def test_a_training_loss_with_the_auxiliary_heads_share_is_labelled() -> None:
    name = "train (its loss with 0.4 × the auxiliary head's)"
    assert legend_names(learning_curves(ROWS, "retrain", 0.4)) == [name, "test"]


def test_a_loss_far_above_the_others_is_cut_off_and_named() -> None:
    rows = [{"epoch": epoch, "loss": 2.0, "test_loss": 1.5} for epoch in range(1, 26)]
    rows[2]["test_loss"] = 22.4  # one of 50 losses; the 95 % quantile is 2, twice that 4
    left = learning_curves(rows, "retrain").axes[0]
    assert left.get_ylim() == pytest.approx((1.475, 2.025))  # 5 % beyond 1.5 and 2
    assert left.get_title("left") == "cut off: 22.4 in epoch 3"
    rows[3]["test_loss"] = 20.0
    assert learning_curves(rows, "retrain").axes[0].get_title("left") == "cut off: 2, up to 22.4"
    rows[2]["test_loss"] = rows[3]["test_loss"] = 3.9
    left = learning_curves(rows, "retrain").axes[0]
    assert left.get_ylim()[1] > 3.9
    assert left.get_title("left") == ""


def test_a_loss_that_only_falls_is_not_cut_off() -> None:
    rows = [{"epoch": epoch, "loss": 50 / epoch**2} for epoch in range(1, 51)]
    left = learning_curves(rows, "retrain").axes[0]
    assert left.get_ylim()[1] > 50
    assert left.get_title("left") == ""


def test_the_curves_of_the_test_are_named_after_its_images() -> None:
    assert legend_names(learning_curves(ROWS, "retrain", evaluated="val")) == ["train", "val"]


def test_trajectories_shade_exactly_the_warm_up_and_label_it() -> None:
    figure = operation_trajectories(search_rows(50, 15), ("none", "skip_connect"))
    assert [warm_up_extent(axes) for axes in figure.axes] == [(0.5, 15.5)] * 2
    assert legend_names(figure) == [WARM_UP, "none (never chosen)", "skip_connect", EQUAL]


def test_trajectories_of_eight_operations_differ_in_colour() -> None:
    alphas = {"normal": [[0.0] * 8], "reduce": [[0.0] * 8]}
    rows = [{"epoch": 1, "warmup": False, "alphas": alphas}]
    axes = operation_trajectories(rows, [f"operation {i}" for i in range(8)]).axes[0]
    curves = [line for line in axes.get_lines() if str(line.get_label()).startswith("operation")]
    assert len({str(line.get_color()) for line in curves}) == 8


def test_edges_into_a_node_share_one_and_equal_ones_are_on_the_dotted_line() -> None:
    # 2 + 3 + 4 + 5 edges. Into node 1 of the normal cell β favours the second by ln 2, so that the
    # edges' shares are 1/4, 2/4 and 1/4.
    normal = [0.0] * 14
    normal[3] = float(np.log(2.0))
    betas = {"normal": normal, "reduce": [0.0] * 14}
    rows = [{"epoch": epoch, "warmup": epoch == 1, "betas": betas} for epoch in (1, 2)]
    panels = edge_trajectories(rows).axes
    assert [len(lines(axes)) - 1 for axes in panels] == [2, 2, 3, 3, 4, 4, 5, 5]
    found = {name: values for name, (_, values) in lines(panels[2]).items() if name != EQUAL}
    assert found == {
        "cₖ₋₂": pytest.approx([0.25] * 2),
        "cₖ₋₁": pytest.approx([0.5] * 2),
        "node 0": pytest.approx([0.25] * 2),
    }
    assert all(values == pytest.approx([0.2] * 2) for _, values in lines(panels[7]).values())
    assert warm_up_extent(panels[7]) == (0.5, 1.5)


def test_a_search_without_epochs_is_stated_in_every_panel() -> None:
    for figure in (edge_trajectories([]), operation_trajectories([], ("none",))):
        assert {axes.texts[0].get_text() for axes in figure.axes} == {"no epoch recorded"}
