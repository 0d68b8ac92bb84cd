from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from evaluate.figures.cost import CostPoint, accuracy_against_cost, cost_bars
from evaluate.figures.training import save_figure

# Two seeds: costs 1 and 3 (mean 2, std √2), accuracies 50 and 70 (mean 60, std 10·√2).
TWO_SEEDS = [CostPoint("high-CV", 1, 50, "t = 0.1"), CostPoint("high-CV", 3, 70, "t = 0.1")]


def curves(axes: Axes) -> dict[str, ErrorbarContainer]:
    found = [item for item in axes.containers if isinstance(item, ErrorbarContainer)]
    return {str(item.get_label()): item for item in found}


def test_bars_show_each_stage_its_figure_and_the_total() -> None:
    axes = cost_bars({"scorer": 1.5, "scores": 0.25, "search": 0.75}, "GPU-hours").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.5, 0.25, 0.75]
    assert [text.get_text() for text in axes.texts] == ["1.5", "0.25", "0.75"]
    assert axes.get_xlabel() == "GPU-hours"
    assert axes.get_title(loc="left") == "total 2.5 GPU-hours"


def test_the_first_stage_is_at_the_top() -> None:
    axes = cost_bars({"scorer": 1.0, "search": 2.0}, "CPU-hours").axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["scorer", "search"]
    assert axes.yaxis_inverted()


def test_large_costs_are_written_out() -> None:
    axes = cost_bars({"retrain": 1502.3}, "GPU-hours").axes[0]
    assert axes.get_title(loc="left") == "total 1,502 GPU-hours"


def test_seeds_of_a_setting_become_mean_and_sample_deviation() -> None:
    figure = accuracy_against_cost(TWO_SEEDS, "GPU-hours")
    container = curves(figure.axes[0])["high-CV (mean ± std, n = 2)"]
    line, _, bars = container.lines
    assert line is not None
    assert np.asarray(line.get_xydata()).tolist() == [[2.0, pytest.approx(60.0)]]
    (horizontal,), (vertical,) = (bar.get_segments() for bar in bars)
    assert horizontal[:, 0].tolist() == pytest.approx([2 - sqrt(2), 2 + sqrt(2)])
    assert vertical[:, 1].tolist() == pytest.approx([60 - 10 * sqrt(2), 60 + 10 * sqrt(2)])


def test_a_single_seed_has_no_error_bar(tmp_path: Path) -> None:
    figure = accuracy_against_cost([CostPoint("random", 1, 50, "t = 0.1")], "GPU-hours")
    _, _, bars = curves(figure.axes[0])["random (n = 1)"].lines
    assert [segment.size for bar in bars for segment in bar.get_segments()] == [0, 0]
    save_figure(figure, tmp_path / "single.png")


def test_each_series_is_one_curve_ordered_by_cost() -> None:
    points = [
        CostPoint("full data", 9, 80, "50 epochs"),
        CostPoint("random", 2, 60, "t = 0.2"),
        CostPoint("full data", 5, 70, "10 epochs"),
        CostPoint("random", 1, 50, "t = 0.1"),
        CostPoint("random", 4, 65, "t = 0.2"),
    ]
    axes = accuracy_against_cost(points, "GPU-hours").axes[0]
    found = {name: item.lines[0] for name, item in curves(axes).items()}
    assert list(found) == ["full data (n = 1)", "random (mean ± std, n = 1–2)"]
    costs = [np.asarray(line.get_xdata()).tolist() for line in found.values() if line is not None]
    assert costs == [[5, 9], [1, 3]]
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["10 epochs", "50 epochs", "t = 0.1", "t = 0.2"]


def test_the_same_label_in_two_series_is_two_settings() -> None:
    points = [CostPoint("random", 1, 50, "t = 0.1"), CostPoint("high-CV", 1, 60, "t = 0.1")]
    assert len(curves(accuracy_against_cost(points, "GPU-hours").axes[0])) == 2


@pytest.mark.parametrize(
    ("costs", "scale"), [((1, 10), "linear"), ((1, 11), "log"), ((0, 11), "linear")]
)
def test_the_cost_axis_is_logarithmic_over_a_factor_of_ten(
    costs: tuple[float, float], scale: str
) -> None:
    points = [CostPoint("random", cost, 50, str(cost)) for cost in costs]
    assert accuracy_against_cost(points, "GPU-hours").axes[0].get_xscale() == scale


def test_axes_are_labelled_with_units() -> None:
    axes = accuracy_against_cost(TWO_SEEDS, "GPU-hours, search alone").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "GPU-hours, search alone",
        "top-1 accuracy (%)",
    )


def test_wide_error_bars_on_a_logarithmic_axis_can_be_drawn(tmp_path: Path) -> None:
    # Mean 50.5, deviation 70: the lower end is negative.
    points = [CostPoint("random", 1, 50, "a"), CostPoint("random", 100, 60, "a")]
    figure = accuracy_against_cost(points, "GPU-hours")
    save_figure(figure, tmp_path / "wide.png")
    assert figure.axes[0].get_xlim()[0] > 1e-3


def test_no_points_give_an_empty_figure(tmp_path: Path) -> None:
    save_figure(accuracy_against_cost([], "GPU-hours"), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 0
