"""The figure of error against total cost: numbers, marked series and the front."""

from pathlib import Path

import pytest

from evaluate.figures.fronts import cost_front
from evaluate.figures.study import StudyPoint
from tests.evaluate.figures.test_study_figures import assert_whole


def points(*means: tuple[str, float, float]) -> list[StudyPoint]:
    """Two seeds a series, whose mean cost and error are given."""
    return [
        StudyPoint(name, cost, error + seed, seed, "fraction=0.1")
        for name, cost, error in means
        for seed in (-1, 1)
    ]


def test_settings_are_numbered_by_cost_and_those_on_the_front_are_filled() -> None:
    # k-center costs more than random and has a higher error; full data has the lowest.
    figure = cost_front(
        points(("full data", 9, 40), ("k-center", 3, 62), ("high CV", 2, 55), ("random", 1, 60)),
        "CPU-minutes",
        "top-1 error (%)",
        marked={"random", "full data"},
    )
    (axes,) = figure.axes
    lines = {str(line.get_label()): line for line in axes.lines}
    names = ["1: random", "2: high CV", "3: k-center", "4: full data"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Pareto front", *names]
    filled = [lines[name].get_markerfacecolor() != "none" for name in names]
    assert filled == [True, True, False, True]
    assert lines[names[0]].get_color() == lines[names[3]].get_color() != lines[names[1]].get_color()
    assert [text.get_text() for text in axes.texts] == ["1: random", "2", "3", "4: full data"]
    assert lines["Pareto front"].get_xydata().tolist() == [
        [1, 60], [2, 60], [2, 55], [9, 55], [9, 40], [9, 40],
    ]  # fmt: skip
    assert "n = 2 seeds" in figure.legends[0].get_title().get_text()
    assert axes.get_xscale() == "linear"


def test_a_series_of_several_points_names_them_and_unequal_seeds_are_given() -> None:
    several = [StudyPoint("high CV", cost, 50, 0, f"t={cost}") for cost in (1, 20)]
    figure = cost_front([*several, *points(("random", 3, 60))], "CPU-minutes", "y")
    assert [text.get_text() for text in figure.legends[0].get_texts()][1:] == [
        "1: high CV, t=1 (n = 1)", "2: random (n = 2)", "3: high CV, t=20 (n = 1)",
    ]  # fmt: skip
    assert figure.axes[0].get_xscale() == "log"


def test_nothing_of_24_series_is_clipped(tmp_path: Path) -> None:
    means = [(f"way of choosing {i}", 1 + i % 3 + i / 50, 60 + i % 7) for i in range(24)]
    figure = cost_front(points(*means), "CPU-minutes", "top-1 error (%)")
    assert_whole(figure, tmp_path / "front.png")
    assert figure.axes[0].get_window_extent().height > 250  # of 100 an inch


def test_no_points_are_an_error() -> None:
    with pytest.raises(ValueError, match="no points"):
        cost_front([], "x", "y")
