"""Contests over seeds: which architectures are compared, and the table's numbers, by hand."""

from types import SimpleNamespace

import pytest

from pipeline.comparisons import contest
from pipeline.comparisons.comparison import ComparedRun, Comparison, Contender
from pipeline.store.ledger import Cost


def run(seed, **kinds):
    """A run with contestants of these accuracies; a second round is never compared."""
    contestants = [
        {"kind": kind, "held_out_accuracies": [accuracy, 0.9]}
        for kind, accuracies in kinds.items()
        for accuracy in accuracies
    ]
    config = SimpleNamespace(name=f"run-{seed}", seed=seed)
    return ComparedRun(config, {"contestants": contestants}, {}, {}, "", Cost())


HIGH = run(0, found=[0.6], random=[0.5], published=[0.7]), run(1, found=[0.3, 0.3], random=[0.2])
RANDOM = run(0, found=[0.4]), run(1, found=[0.3])
COMPARISON = Comparison("contest", (Contender("high", HIGH), Contender("random tenth", RANDOM)))


def test_found_architectures_are_compared_with_the_random_ones_of_their_seed():
    over = contest.beside(COMPARISON)["over_random"]
    assert over["found, high"]["value"] == pytest.approx(0.45 / 0.35 - 1)
    assert (over["found, high"]["low"], over["found, high"]["high"]) == pytest.approx((0.2, 0.5))
    assert over["found, random tenth"]["value"] == pytest.approx(0)
    assert over["published"]["value"] == pytest.approx(0.7 / 0.5 - 1)
    assert over["published"]["low"] is None


def test_the_contenders_are_compared_with_each_other():
    between = contest.beside(COMPARISON)["between"]
    found = between["found, high over found, random tenth"]
    assert found["value"] == pytest.approx(0.45 / 0.35 - 1)
    assert (found["low"], found["high"]) == pytest.approx((0, 0.5))


def test_the_table_has_mean_and_deviation_over_seeds():
    page = contest.pages(COMPARISON, [])[contest.PAGE]
    # The seeds' means are 60 and 30 %: the mean is 45, the sample deviation 30 / √2.
    assert "| found, high | 2 | 3 | 45.00 ± 21.21 | +28.57 [+20.00, +50.00] |" in page
    assert "| random | 2 | 2 | 35.00 ± 21.21 |  |" in page
    assert "| published | 1 | 1 | 70.00 | +40.00 |" in page
