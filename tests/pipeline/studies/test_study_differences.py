"""Differences of a study's settings from its reference, with hand-worked p values."""

from dataclasses import replace
from math import sqrt

import pytest

from pipeline.store.ledger import Cost
from pipeline.studies.differences import compare_settings
from pipeline.studies.results import TrialResult
from pipeline.studies.study import load_study

STUDY = """\
name: digits
base: base.yaml
seeds: 3
set: {goal: subset}
grid: {subset.fraction: [0.2, 0.4]}
reference: random
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: random, set: {subset.measure: random}}
  - {name: full data, set: {subset.measure: full}, points: [{}]}
"""


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("differences")
    (folder / "base.yaml").write_text("data: {kind: digits}\n")
    (folder / "study.yaml").write_text(STUDY)
    return load_study(folder / "study.yaml").trials


def result(trial, error):
    accuracy = None if error is None else {"top1_error_last": error}
    return TrialResult(trial, {}, {}, accuracy, None, None)


def test_every_setting_is_compared_with_the_reference_of_its_point_and_corrected(trials):
    # Random has 50 at every seed. High CV is lower by 1, 2, 3 at 0.2 (t = 2·√3, p = 1 - √(12/14))
    # and by 10, 20, 30 at 0.4, which has the same t. Two comparisons: each p is doubled.
    lower = {0.2: [1, 2, 3], 0.4: [10, 20, 30]}
    results = [
        result(t, 50 - lower[t.config.subset.fraction][t.seed] if t.series == "high CV" else 50)
        for t in trials
        if t.series != "full data"
    ]
    found = compare_settings(results, "random")
    assert list(found) == [("high CV", "fraction=0.2"), ("high CV", "fraction=0.4")]
    first, second = found.values()
    assert (first.summary.mean, second.summary.mean) == (-2, -20)
    p = 1 - sqrt(12 / 14)
    assert (first.p, second.p) == (pytest.approx(p), pytest.approx(p))
    assert (first.p_holm, second.p_holm) == (pytest.approx(2 * p), pytest.approx(2 * p))
    assert first.as_json()["p_holm"] == first.p_holm


def test_unfinished_settings_count_and_those_without_a_counterpart_do_not(trials):
    # Full data has no counterpart: random has two points, neither with its fraction.
    results = [
        result(t, None if t.config.subset.fraction == 0.4 else 50 + t.seed * (t.series != "random"))
        for t in trials
    ]
    found = compare_settings(results, "random")
    assert list(found) == [("high CV", "fraction=0.2"), ("high CV", "fraction=0.4")]
    whole, unfinished = found.values()
    assert whole.p_holm == pytest.approx(2 * whole.p)
    assert unfinished.as_json() is None


def test_a_study_without_a_reference_compares_nothing(trials):
    assert compare_settings([result(trial, 50) for trial in trials], None) == {}


def test_the_total_of_a_subset_is_its_choice_and_the_training_of_one_probe(trials):
    hours = {"scorer": 4.0, "scores": 2.0, "subset": 1.0, "probe": 6.0}
    costs = {name: Cost(cpu_hours=each, wall_hours=each) for name, each in hours.items()}
    config = trials[0].config.model_copy(update={"probes": 3})
    found = TrialResult(replace(trials[0], config=config), {}, costs, None, None, None)
    assert found.selection.cpu_hours == 7
    assert found.total == Cost(cpu_hours=9, wall_hours=9)  # 4 + 2 + 1 + 6 / 3
