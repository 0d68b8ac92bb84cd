"""The name of a subset in reports: its measure and its order."""

from typing import get_args

from pipeline.reports.subset_names import name_subset
from subsample.measures import Measure, Order


def test_the_paper_s_subset_has_its_name_and_another_order_is_named():
    assert name_subset("cv", "deterministic") == "high-CV"
    assert name_subset("cv", "interval") == "high-CV, every n-th"
    assert name_subset("entropy", "p1") == "entropy, drawn by P1"


def test_no_two_subsets_have_the_same_name():
    plain = ("random", "full", "imported")
    chosen = [measure for measure in get_args(Measure) if measure not in plain]
    names = [name_subset(measure, order) for measure in chosen for order in get_args(Order)]
    assert len({*names, *(name_subset(measure, "deterministic") for measure in plain)}) == (
        len(chosen) * len(get_args(Order)) + len(plain)
    )


def test_an_order_says_nothing_of_images_that_no_measure_ranks():
    assert name_subset("random", "interval") == "random"
    assert name_subset("full", "interval") == "full data"
