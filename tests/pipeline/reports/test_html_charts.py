"""Charts as geometry: what lies where, by hand."""

import numpy as np
import pytest

from pcdarts.genotype import Edge, Genotype
from pipeline.reports.html.cell_picture import cell_pictures
from pipeline.reports.html.chart import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Series,
    histogram,
    line_chart,
)
from pipeline.reports.html.cost_charts import break_even_chart, stage_bars
from pipeline.reports.html.curves import alpha_charts, beta_charts, training_charts
from pipeline.reports.html.gallery import _cut


def test_an_axis_takes_values_to_pixels():
    axis = Axis(0, 10, 100, 200)
    assert [axis(0), axis(5), axis(10)] == [100, 150, 200]
    assert axis.ticks == [(100, "0"), (120, "2"), (140, "4"), (160, "6"), (180, "8"), (200, "10")]
    assert Axis(1, 100, 0, 80, logarithmic=True)(10) == 40


def test_an_axis_of_whole_numbers_has_no_other_ticks():
    assert [label for _, label in Axis(1, 3, 0, 1, whole=True).ticks] == ["1", "2", "3"]


def test_a_line_goes_from_corner_to_corner():
    points = [(1, 0.0), (2, float("nan")), (3, 1.0)]
    chart = line_chart("", "", ("", ""), [Series("a", points, 0)], y_range=(0, 1))
    assert chart.paths[0].line == f"{LEFT},{BOTTOM} {RIGHT},{TOP}"


def test_a_single_point_is_a_dot():
    chart = line_chart("", "", ("", ""), [Series("a", [(1, 0.5)], 0)])
    assert len(chart.paths[0].dots) == 1


def test_hours_that_differ_widely_get_a_logarithmic_axis():
    def logarithmic(*costs):
        series = [Series("a", [(cost, 90.0) for cost in costs], 0, marked=True)]
        return line_chart("", "", ("", ""), series, any_scale=True).x.logarithmic

    assert logarithmic(1, 11)
    assert not logarithmic(1, 9)
    assert not logarithmic(0, 9)


def test_bars_are_as_high_as_their_counts():
    counts = [("all", "all", [4, 0]), ("ours", "kept", [2, 0])]
    chart = histogram("", "", ("", ""), [0, 1, 2], counts)
    first, second = chart.bars
    assert first.height == pytest.approx(2 * second.height, abs=0.1)
    assert first.y + first.height == pytest.approx(BOTTOM)


def test_the_cut_is_the_lowest_cv_kept_of_each_class():
    cv = np.array([0.1, 0.4, 0.5, 0.2, 0.3, 0.6])
    labels = np.array([0, 0, 0, 1, 1, 1])
    kept = np.array([False, True, True, False, False, True])
    assert _cut(cv, labels, kept) == (0.4, 0.6)
    kept[[1, 0]] = False, True  # an image is kept before one of higher CV: nothing was cut
    assert _cut(cv, labels, kept) is None


COST = {
    "unit": "GPU-hours",
    "stages": {"scorer": 3.0, "scores": 0.5, "subset": 0.0, "search": 1.0, "retrain": 4.0},
    "search_alone": 1.0,
    "total": 4.5,
    "break_even_searches": 2,
    "break_even_basis": "measured: here",
    "full_search": 3.0,
}


def test_the_lines_of_break_even_cross_where_it_is():
    """3.5 + 1 n = 3 n at n = 1.75, so the second search pays."""
    chart = break_even_chart(COST)
    assert "3.5 GPU-hours before the first" in chart.alt
    ours, full = (
        [tuple(map(float, point.split(","))) for point in path.line.split()] for path in chart.paths
    )

    def height(line, x):
        (x0, y0), (x1, y1) = line
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    cross = LEFT + (RIGHT - LEFT) * 1.75 / 4
    assert height(ours, cross) == pytest.approx(height(full, cross), abs=0.2)
    assert chart.band[0] == chart.x(2)


def test_there_is_no_chart_where_the_subset_never_pays():
    assert break_even_chart(COST | {"break_even_searches": None}) is None


def test_bars_of_stages_are_shares_of_the_longest():
    rows = stage_bars(COST).rows
    assert [name for name, *_ in rows][-1] == "search on all images, measured"
    assert [share for _, share, _, _ in rows] == [0.75, 0.125, 0.004, 0.25, 1.0, 0.75]
    both = stage_bars({"unit": "x", "stages": {"search": {"gpu_hours": 1.0, "cpu_hours": 2.0}}})
    assert both.rows[0][2] == "3"


def rows_of_search():
    """Two epochs in which no operation and no edge is better than another."""
    alphas = {cell: np.zeros((14, 8)).tolist() for cell in ("normal", "reduce")}
    betas = {cell: np.zeros(14).tolist() for cell in ("normal", "reduce")}
    return [
        {"epoch": epoch, "warmup": epoch == 1, "alphas": alphas, "betas": betas} for epoch in (1, 2)
    ]


def test_equal_architectures_lie_on_the_dotted_line():
    rows = rows_of_search()
    for chart in [*alpha_charts(rows), *beta_charts(rows, "normal")]:
        for path in chart.paths:
            assert {float(point.split(",")[1]) for point in path.line.split()} == {chart.rule}
        assert "epochs 1 to 1" in chart.alt
    assert [len(chart.paths) for chart in alpha_charts(rows)] == [8, 8]
    assert [len(chart.paths) for chart in beta_charts(rows, "reduce")] == [2, 3, 4, 5]


def test_only_what_was_recorded_is_drawn():
    rows = [{"epoch": 1, "loss": 2.0, "accuracy": 0.5}, {"epoch": 2, "loss": 1.0, "accuracy": 0.6}]
    loss, accuracy = training_charts(rows, "Scorer")
    assert [path.name for path in loss.paths] == ["train"]
    assert "train from 50 to 60" in accuracy.alt
    assert training_charts([{"epoch": 1}], "Scorer") == []


def test_a_cell_is_also_said_in_words():
    nodes = tuple((Edge("skip_connect", node), Edge("sep_conv_3x3", node + 1)) for node in range(4))
    normal, _ = cell_pictures(Genotype(nodes, nodes))
    assert normal.edges[0] == ("node 0", ["skip_connect of cell k−2", "sep_conv_3x3 of cell k−1"])
    assert normal.edges[3] == ("node 3", ["skip_connect of node 1", "sep_conv_3x3 of node 2"])
    assert len(normal.labels) == 8
    assert len(normal.states) == 7
    assert all(0 <= x <= normal.width and 0 <= y <= normal.height for x, y, *_ in normal.states)
