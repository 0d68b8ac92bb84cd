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
        ("search.checkpoint_steps=5", []),
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


def test_a_classifier_is_the_scorer_alone_and_shares_its_artifact_with_the_network():
    config = load_config(CONFIG, ["goal=classifier"])
    graph = build_graph(STAGES, config)
    assert stage_order(graph, STAGES) == ["scorer"]
    assert set(graph) == {"data", "scorer", "report"}
    assert fingerprints(STAGES, config, {"data": CONTENT["data"]}) == {"scorer": keys()["scorer"]}


def test_a_classifier_needs_its_scorer_whatever_the_subset():
    config = load_config(CONFIG, ["goal=classifier", "subset.measure=random"])
    assert stage_order(build_graph(STAGES, config), STAGES) == ["scorer"]


@pytest.mark.parametrize(
    "override",
    [
        "scorer.stochastic_depth=0.1",
        "scorer.drop_block=0.1",
        "scorer.mixing={kind: cutout, side: 8}",
        "data.lighting=0.1",
    ],
)
def test_what_is_switched_on_makes_another_scorer(override):
    assert changed(override)[0] == "scorer"
