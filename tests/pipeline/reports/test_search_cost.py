"""What counts as the search, by hand-worked costs."""

import pytest

from pipeline.config import PipelineConfig
from pipeline.reports.results import _break_even, cost_before_search, search_cost
from pipeline.store.ledger import Attempt, Cost
from pipeline.store.store import Store

COSTS = {
    "scorer": Cost(cpu_hours=4.0),
    "scores": Cost(cpu_hours=1.0),
    "subset": Cost(cpu_hours=0.5),
    "search": Cost(cpu_hours=2.0),
    "retrain": Cost(cpu_hours=9.0),
}


def config(model):
    return PipelineConfig.model_validate(
        {
            "name": "run",
            "data": {"kind": "digits"},
            "scorer": {"model": model},
            "search": {"batch_size": 16},
            "subset": {"measure": "cv", "fraction": 0.1},
            "target": {"kind": "digits"},
        }
    )


@pytest.mark.parametrize(
    ("model", "search", "before"), [("supernet", 6.0, 1.5), ("resnet8", 2, 5.5)]
)
def test_the_supernets_warm_up_is_part_of_the_search_and_counted_once(model, search, before):
    assert search_cost(config(model), COSTS).hours == search
    assert cost_before_search(config(model), COSTS).hours == before


@pytest.mark.parametrize(
    ("model", "full", "searches"),
    # 320 of 3,200 images: 10 steps an epoch against 100, so the full search stage takes 20 hours.
    [("supernet", 24.0, 1), ("resnet8", 20.0, 1)],
)
def test_an_estimated_full_search_pays_for_the_same_warm_up(tmp_path, model, full, searches):
    found = _break_even(config(model), COSTS, 320, 3200, Store(tmp_path), "unknown")
    assert (found["full_search"], found["break_even_searches"]) == (full, searches)


def test_a_measured_full_search_pays_for_the_same_warm_up(tmp_path):
    store = Store(tmp_path)
    store.ledger.append(
        Attempt("search", "full", "full", "2026-01-01", 7 * 3600.0, "cpu", "cpu", 1, "done")
    )
    found = _break_even(config("supernet"), COSTS, 320, 3200, store, "full")
    # 1.5 hours before the search, 11 against 6 hours for each search.
    assert (found["full_search"], found["break_even_searches"]) == (11.0, 1)
