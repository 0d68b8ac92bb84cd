import numpy as np
import pytest

from evaluate.figures.cost import break_even_lines, cost_bars


def test_bars_show_each_stage_its_figure_and_the_total() -> None:
    axes = cost_bars({"scorer": 1.5, "scores": 0.25, "search": 0.75}, "GPU-hours").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.5, 0.25, 0.75]
    assert [text.get_text() for text in axes.texts] == ["1.5 h", "15 min", "45 min"]
    assert axes.get_xlabel() == "GPU-hours"
    assert axes.get_title(loc="left") == "total 2.5 GPU-hours"


def test_the_first_stage_is_at_the_top() -> None:
    axes = cost_bars({"scorer": 1.0, "search": 2.0}, "CPU-hours").axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["scorer", "search"]
    assert axes.yaxis_inverted()


def test_large_costs_are_written_out() -> None:
    axes = cost_bars({"retrain": 1502.3}, "GPU-hours").axes[0]
    assert axes.get_title(loc="left") == "total 1,502 GPU-hours"


def test_what_is_beside_has_a_bar_and_is_not_in_the_total() -> None:
    axes = cost_bars({"search": 1.0}, "GPU-hours", {"search on all images": 3.0}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.0, 3.0]
    assert axes.get_title(loc="left") == "total 1 GPU-hour"


def test_the_lines_of_break_even_cross_where_it_is() -> None:
    """3.5 + 1 n = 3 n at n = 1.75, so the second search pays."""
    axes = break_even_lines(3.5, 1.0, 3.0, 2, "GPU-hours").axes[0]
    ours, full = (np.asarray(line.get_ydata(), float) for line in axes.get_lines())
    at = 1.75 / 4
    assert ours[0] + at * (ours[1] - ours[0]) == pytest.approx(full[0] + at * (full[1] - full[0]))
    assert axes.patches[0].get_label() == "subset cheaper: from 2 searches"
