from itertools import combinations
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D

from evaluate.figures.study import StudyPoint, curves, two_cost_axes
from evaluate.figures.style import save_figure

# Two seeds: y 50 and 70, mean 60, deviation 10·√2.
TWO_SEEDS = [StudyPoint("high CV", 0.1, 50, 0), StudyPoint("high CV", 0.1, 70, 1)]
# Costs 1 and 3: mean 2, deviation √2.
TWO_COSTS = [
    StudyPoint("high CV", 1, 50, 0, "t = 0.1"),
    StudyPoint("high CV", 3, 70, 1, "t = 0.1"),
]


def lines(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines if str(line.get_label())[0] != "_"}


def coordinates(line: Line2D) -> list[list[float]]:
    return np.asarray(line.get_xydata()).tolist()


def segments(axes: Axes) -> list[list[list[list[float]]]]:
    """Of each error bar of the first series, x before y: its ends, none if it is not drawn."""
    container = next(item for item in axes.containers if isinstance(item, ErrorbarContainer))
    return [[part.tolist() for part in bar.get_segments() if part.size] for bar in container[2]]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def many_points(num_series: int, name: str = "series {}") -> list[StudyPoint]:
    return [
        StudyPoint(name.format(index), x, 50 + 2 * index + 10 * x + seed, seed)
        for index in range(num_series)
        for x in (0.05, 0.1, 0.2, 0.5)
        for seed in range(3)
    ]


def assert_whole(figure: Figure, path: Path) -> None:
    """All text lies inside the picture: its outermost pixels are white."""
    save_figure(figure, path)
    image = imread(path)[..., :3]
    for edge in (image[:2], image[-2:], image[:, :2], image[:, -2:]):
        assert edge.min() == 1
    assert image.shape[1] == 1200


def test_a_marker_is_the_mean_and_its_bar_one_sample_deviation() -> None:
    axes = curves(TWO_SEEDS, "t", "top-1 accuracy (%)").axes[0]
    assert coordinates(lines(axes)["high CV (n = 2)"]) == [[0.1, 60]]
    horizontal, ((low, high),) = segments(axes)
    assert horizontal == []
    assert (low[1], high[1]) == pytest.approx((60 - 10 * sqrt(2), 60 + 10 * sqrt(2)))


def test_seeds_of_a_label_have_a_bar_of_x_where_they_differ() -> None:
    axes = curves(TWO_COSTS, "GPU-hours", "top-1 accuracy (%)").axes[0]
    assert coordinates(lines(axes)["high CV (n = 2)"]) == [[2, 60]]
    ((left, right),), _ = segments(axes)
    assert (left[0], right[0]) == pytest.approx((2 - sqrt(2), 2 + sqrt(2)))


def test_without_labels_each_x_is_a_setting_and_one_seed_has_no_bar() -> None:
    points = [StudyPoint("random", 2, 60, 0), StudyPoint("random", 1, 50, 0)]
    axes = curves(points, "t", "y").axes[0]
    assert coordinates(lines(axes)["random (n = 1)"]) == [[1, 50], [2, 60]]
    assert segments(axes) == [[], []]


def test_series_keep_their_order_and_state_their_seeds() -> None:
    points = [StudyPoint("random", 0.1, 40, 0), *TWO_SEEDS, StudyPoint("high CV", 0.2, 70, 0)]
    figure = curves(points, "t", "y")
    assert legend(figure) == ["random (n = 1)", "high CV (n = 1–2)"]
    assert figure.legends[0].get_title().get_text() == "mean ± one standard deviation over n seeds"


def test_no_deviation_is_spoken_of_where_all_have_one_seed() -> None:
    assert curves(TWO_SEEDS[:1], "t", "y").legends[0].get_title().get_text() == ""


def test_a_series_of_one_setting_is_a_marker_alone() -> None:
    points = [*TWO_SEEDS, StudyPoint("random", 1, 50, 0), StudyPoint("random", 2, 60, 0)]
    found = lines(curves(points, "t", "y").axes[0])
    assert found["high CV (n = 2)"].get_linestyle() == "None"
    assert found["random (n = 1)"].get_linestyle() == "-"


def test_axes_are_named() -> None:
    axes = curves(TWO_SEEDS, "fraction t", "top-1 accuracy (%)", title="CIFAR-100").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("fraction t", "top-1 accuracy (%)")
    assert axes.get_title(loc="left") == "CIFAR-100"


def test_given_ticks_are_the_only_ones() -> None:
    ticks = [0.05, 0.1, 0.5]
    figure = curves(many_points(1), "t", "y", log_x=True, x_ticks=ticks)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == ticks
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.05", "0.1", "0.5"]
    assert axes.get_xticks(minor=True).tolist() == []


@pytest.mark.parametrize("highest", [1.2, 4.0, 1000.0])
def test_a_logarithmic_axis_has_ticks_whatever_its_range(highest: float) -> None:
    points = [StudyPoint("random", 1, 50, 0), StudyPoint("random", highest, 60, 0)]
    axes = curves(points, "t", "y", log_x=True).axes[0]
    low, high = axes.get_xlim()
    assert 3 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= 12


def test_twelve_series_look_unlike_even_without_their_lines() -> None:
    found = lines(curves(many_points(12), "t", "y").axes[0]).values()
    looks = [(line.get_color(), line.get_marker()) for line in found]
    assert len(set(looks)) == 12
    for one, other in combinations(found, 2):
        if one.get_color() == other.get_color():
            assert one.get_linestyle() != other.get_linestyle()
            assert one.get_markerfacecolor() != other.get_markerfacecolor()


def test_labels_stand_beside_their_markers_where_asked_for() -> None:
    assert not curves(TWO_COSTS, "x", "y").axes[0].texts
    (text,) = curves(TWO_COSTS, "x", "y", direct_labels=True).axes[0].texts
    assert (text.get_text(), text.xy) == ("t = 0.1", (2, 60))  # type: ignore[attr-defined]


def test_a_curve_without_labels_is_named_at_its_end() -> None:
    points = [StudyPoint("random", 2, 60, 0), StudyPoint("random", 1, 50, 0)]
    (text,) = curves(points, "x", "y", direct_labels=True).axes[0].texts
    assert (text.get_text(), text.xy) == ("random", (2, 60))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["{}", "high CV, kl, common draws, number {}", "a name too long for a line " * 5 + "{}"]
)
def test_nothing_of_curves_is_clipped(name: str, tmp_path: Path) -> None:
    figure = curves(many_points(12, name), "t", "top-1 accuracy (%)", direct_labels=len(name) < 9)
    assert_whole(figure, tmp_path / "curves.png")
    assert figure.axes[0].get_window_extent().height > 250  # of 100 an inch


def test_two_panels_show_the_same_accuracy_against_two_costs() -> None:
    total = [
        StudyPoint(point.series, 10 + point.x, point.y, point.seed, point.label)
        for point in TWO_COSTS
    ]
    figure = two_cost_axes(TWO_COSTS, total, "GPU-hours", "top-1 accuracy (%)")
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == [
        "search alone",
        "scorer + scores +\nsubset + search",
    ]
    assert [left.get_xlabel(), right.get_xlabel()] == ["GPU-hours", "GPU-hours"]
    assert [left.get_ylabel(), right.get_ylabel()] == ["top-1 accuracy (%)", ""]
    assert left.get_ylim() == right.get_ylim()
    name = "high CV (n = 2)"
    assert coordinates(lines(left)[name]) == [[2, 60]]
    assert coordinates(lines(right)[name]) == [[12, 60]]
    assert legend(figure) == [name, "t = 0.1"]
    assert not left.texts + right.texts
    assert left.get_xlim() == right.get_xlim()


def test_a_series_looks_the_same_in_both_panels() -> None:
    points = [StudyPoint(name, 1, 50, 0) for name in ("random", "high CV")]
    left, right = two_cost_axes(points, points[::-1], "GPU-hours", "y").axes
    for name in ("random (n = 1)", "high CV (n = 1)"):
        assert lines(left)[name].get_color() == lines(right)[name].get_color()
        assert lines(left)[name].get_marker() == lines(right)[name].get_marker()


def test_a_setting_has_the_same_marker_in_all_series_and_no_other_setting_has_it() -> None:
    points = [
        StudyPoint(name, x + place, 50, 0, f"t = {x}")
        for place, name in enumerate(("random", "high CV"))
        for x in range(1, 21)
    ]
    figure = two_cost_axes(points, points, "GPU-hours", "y")
    single = [line for line in figure.axes[0].lines if len(coordinates(line)) == 1]
    looks = {
        name: [(line.get_marker(), line.get_fillstyle()) for line in single[20 * n : 20 * n + 20]]
        for n, name in enumerate(("random", "high CV"))
    }
    assert looks["random"] == looks["high CV"]
    assert len(set(looks["random"])) == 20
    assert legend(figure)[2:] == [f"t = {x}" for x in range(1, 21)]


def test_runs_that_are_not_joined_are_labelled_at_their_points() -> None:
    figure = two_cost_axes(TWO_COSTS, TWO_COSTS, "GPU-hours", "y", joined=False)
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["t = 0.1"]] * 2
    assert legend(figure) == ["high CV (n = 2)"]


@pytest.mark.parametrize("log_x", [False, True])
def test_bars_at_the_same_x_are_drawn_next_to_each_other_around_it(log_x: bool) -> None:
    points = [
        StudyPoint(f"series {index}", x, 50 + index + seed, seed)
        for index in range(3)
        for x in ((10, 100) if index else (10, 40, 100))
        for seed in range(2)
    ]
    axes = curves(points, "M", "y", log_x=log_x).axes[0]
    first, *others = (np.asarray(line.get_xdata(), float) for line in lines(axes).values())
    assert first[1] == pytest.approx(40)  # alone at its x
    placed = np.array([first[[0, 2]], *others])
    assert placed[1] == pytest.approx([10, 100])
    scaled = np.log(placed) if log_x else placed
    steps = np.diff(scaled, axis=0) / (scaled[1, 1] - scaled[1, 0])
    assert steps == pytest.approx(np.full((2, 2), steps[0, 0]))
    assert 0.01 < steps[0, 0] < 0.03
    bars = [item for item in axes.containers if isinstance(item, ErrorbarContainer)]
    drawn = [bar[2][1].get_segments()[0][0][0] for bar in bars]
    assert drawn == pytest.approx(placed[:, 0].tolist())


def test_points_without_bars_and_bars_alone_stay_at_their_x() -> None:
    points = [*TWO_SEEDS, StudyPoint("random", 0.1, 40, 0)]
    axes = curves(points, "t", "y").axes[0]
    assert [coordinates(line)[0][0] for line in lines(axes).values()] == [0.1, 0.1]


def test_bars_that_are_all_at_one_x_stay_near_it() -> None:
    points = [*TWO_SEEDS, *(StudyPoint("random", 0.1, y, seed) for seed, y in enumerate((4, 5)))]
    axes = curves(points, "t", "y").axes[0]
    low, high = axes.get_xlim()
    left, right = (coordinates(line)[0][0] for line in lines(axes).values())
    assert (left + right) / 2 == pytest.approx(0.1)
    assert 0 < right - left < (high - low) / 20


def test_both_cost_axes_are_logarithmic_if_all_costs_span_a_wide_range() -> None:
    points = [StudyPoint("random", x, 50, 0) for x in (1, 20)]
    total = [StudyPoint("random", x, 50, 0) for x in (101, 120)]
    left, right = two_cost_axes(points, total, "GPU-hours", "y").axes
    assert (left.get_xscale(), right.get_xscale()) == ("log", "log")
    left, right = two_cost_axes(total, total, "GPU-hours", "y").axes
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "linear")


def test_nothing_of_two_panels_is_clipped(tmp_path: Path) -> None:
    points = [
        StudyPoint(f"series number {index}", t * 10 + seed / 9, 60 + index + seed, seed, f"t = {t}")
        for index in range(12)
        for t in (0.1, 0.2, 4)
        for seed in range(2)
    ]
    figure = two_cost_axes(points, points, "GPU-hours", "top-1 accuracy (%)")
    assert_whole(figure, tmp_path / "costs.png")


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="no points"):
        curves([], "x", "y")
    with pytest.raises(ValueError, match="no points"):
        two_cost_axes(TWO_COSTS, [], "GPU-hours", "y")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (StudyPoint("high CV", 0.1, 60, 1), "has the same seed"),
        (StudyPoint("high CV", 0.1, float("nan"), 2), "not finite"),
        (StudyPoint("high CV", 0.0, 60, 0), "logarithmic"),
    ],
)
def test_points_that_cannot_be_drawn_are_an_error(point: StudyPoint, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curves([*TWO_SEEDS, point], "x", "y", log_x=True)
