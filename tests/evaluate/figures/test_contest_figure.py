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
    assert named == ["1", "2", "3"]
    listed = figure.legends[0].get_title().get_text()
    assert (
        " ".join(listed.split()) == "1: random 1; 2: darts_v1; 3: search"
    )  # by rising multiply-adds
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "Pareto front", "found (n = 1)", "random (n = 2)", "published (n = 1)", "winner",
    ]  # fmt: skip


def test_the_winner_of_each_budget_is_named_with_its_budget():
    """One is on the front, one is not; a third budget has the same winner as the first."""
    figure = contest_front(candidates(None), winners=[2, 0, 2], device="a CPU", rounds=2)
    named = [text.get_text() for text in figure.axes[0].texts]
    assert named == ["1", "2", "3", "4"]
    assert " ".join(figure.legends[0].get_title().get_text().split()) == (
        "1: random 1; 2: darts_v1; 3: search (winner of budget 2); "
        "4: random 2 (winner of budgets 1, 3)"
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-1] == "winner of a budget, by the last round"


@pytest.mark.parametrize(("smallest", "scale"), [(4, "linear"), (3, "log")])
def test_costs_of_small_and_large_networks_have_a_log_axis(smallest, scale):
    small = Candidate("small", "random", 60.0, smallest * 1_000_000, None)
    figure = contest_front([*candidates(None), small], winners=[0], device="a CPU")
    assert figure.axes[0].get_xscale() == scale
