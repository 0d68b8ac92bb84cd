from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.stages import STAGES

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
CONTENT = {"data": "hash of data", "target": "hash of target"}
ALL = ["scorer", "scores", "subset", "search", "retrain"]


def keys(*overrides, content=CONTENT):
    return fingerprints(STAGES, load_config(CONFIG, overrides), content)


def changed(*overrides, content=CONTENT):
    before, after = keys(), keys(*overrides, content=content)
    return [stage for stage in ALL if before[stage] != after.get(stage)]


@pytest.mark.parametrize(
    ("measure", "stages"),
    [("cv", ALL), ("mean_low", ALL), ("random", ALL[2:]), ("full", ALL[2:])],
)
def test_only_measures_of_the_losses_need_a_scorer(measure, stages):
    config = load_config(CONFIG, [f"subset.measure={measure}"])
    assert stage_order(build_graph(STAGES, config), STAGES) == stages


def test_the_report_comes_last():
    graph = build_graph(STAGES, load_config(CONFIG))
    assert set(graph.predecessors("report")) == set(ALL)


@pytest.mark.parametrize(
    ("override", "remade"),
    [
        ("name=other", []),
        ("scores.batch_size=64", []),
        ("scorer.cuda_graph=off", []),
        ("search.cuda_graph=off", []),
        ("scorer.precision=bf16", ALL),
        ("scores.precision=bf16", ALL[1:]),
        ("search.precision=bf16", ALL[3:]),
        ("scorer.epochs=31", ALL),
        ("scores.draws=20", ALL[1:]),
        ("subset.fraction=0.2", ALL[2:]),
        ("search.epochs=49", ALL[3:]),
        ("retrain.epochs=41", ALL[4:]),
        ("seed=1", ALL),
    ],
)
def test_a_setting_changes_the_fingerprints_of_what_follows_from_it(override, remade):
    assert changed(override) == remade


def test_other_images_change_everything_and_another_target_only_the_retraining():
    assert changed(content=CONTENT | {"data": "other"}) == ALL
    assert changed(content=CONTENT | {"target": "other"}) == ["retrain"]
