"""The front of a contest: which networks are on it, and how it is drawn."""

import pytest

from evaluate.figures.contest import Candidate, contest_front, pareto_front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1.0, 9.0), (2.0, 5.0), (3.0, 6.0), (4.0, 1.0)], [0, 1, 3]),  # (3, 6) is behind (2, 5)
        ([(2.0, 5.0), (2.0, 4.0)], [1]),  # equal cost, higher error
        ([(3.0, 5.0), (2.0, 5.0)], [1]),  # equal error, higher cost
        ([(1.0, 1.0), (1.0, 1.0)], [0]),
    ],
)
def test_a_network_is_on_the_front_if_no_other_is_better_in_one_and_not_worse_in_the_other(
    points, front
):
    assert pareto_front(points) == front


def candidates(latency):
    return [
        Candidate("search", "found", 40.0, 12_000_000, latency),
        Candidate("random 1", "random", 50.0, 9_000_000, latency),
        Candidate("random 2", "random", 55.0, 14_000_000, latency),
        Candidate("darts_v1", "published", 45.0, 10_000_000, latency),
    ]


@pytest.mark.parametrize(("latency", "panels"), [(None, 1), (3.0, 2)])
def test_latency_has_a_panel_where_it_is_measured(latency, panels):
    figure = contest_front(candidates(latency), winners=[0], device="a CPU")
    assert len(figure.axes) == panels
    named = [text.get_text() for text in figure.axes[0].texts]
    assert named == ["random 1", "darts_v1", "search"]  # by rising multiply-adds
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "Pareto front", "found (n = 1)", "random (n = 2)", "published (n = 1)", "winner",
    ]  # fmt: skip
