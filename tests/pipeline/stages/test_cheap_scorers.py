"""Scorers stopped early, scores from a training's record, and the supernet as a scorer."""

import json
from pathlib import Path

import numpy as np
import pytest

from classification.persistence.checkpoint import load_checkpoint
from classification.persistence.workspace import read_metrics
from classification.training.recorded_losses import TRAINING_LOSSES
from pipeline.config import dump_config, load_config
from pipeline.graph import build_graph, fingerprints
from pipeline.stages import STAGES
from pipeline.store.store import MANIFEST
from run_pipeline import main

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
CONTENT = {"data": "hash of data", "target": "hash of target"}
CONFIG = """
name: cheap
data: {kind: digits, classes: 3, images_per_class: 40}
scorer: {model: resnet8, epochs: 4, batch_size: 32}
scores: {draws: 4}
subset: {fraction: 0.5}
search: {epochs: 3, warmup_epochs: 1, batch_size: 16, channels: 4, cells: 3}
retrain: {batch_size: 32}
"""
SUPERNET = "scorer={model: supernet, mixing: {kind: dcutmix, num_images: 3}}"
PAPER = ("scores.loss=ce", "scores.draws=10")
RECORD = ("scorer.record_losses=true", "scores.source=training")


def keys(*overrides):
    return fingerprints(STAGES, load_config(QUICKSTART, (*PAPER, *overrides)), CONTENT)


def changed(before, after):
    return [stage for stage in before if before[stage] != after.get(stage)]


def run(folder, until, *overrides):
    """The exit status; artifacts are found by `artifact`."""
    path = folder / "cheap.yaml"
    path.write_text(CONFIG)
    places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    settings = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(path), "--until", until, *places, "--device", "cpu", *settings])


def artifact(folder, stage):
    manifest = json.loads((folder / "runs" / "cheap" / "manifest.json").read_text())
    return folder / "artifacts" / stage / manifest["stages"][stage]


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("scorer.stop_epoch=10", "scorer"),
        ("scorer.record_losses=true", "scorer"),
        ("scores.source=training", "scores"),
    ],
)
def test_what_is_cheaper_has_a_name_of_its_own(override, first):
    assert changed(keys(), keys(override))[0] == first


def test_under_a_record_only_what_is_taken_from_it_counts():
    before = keys(*RECORD)
    for override in ("scores.alpha=1", "scores.num_images=2", "scores.batch_size=8"):
        assert keys(*RECORD, override) == before
    for override in ("scores.draws=5", "scores.loss=kl", "scores.cv_floor=1"):
        assert changed(before, keys(*RECORD, override))[0] == "scores"


def test_a_supernet_depends_on_what_the_warm_up_does_and_the_search_on_it():
    plain, before = keys("scorer={}"), keys(SUPERNET)
    assert plain["scorer"] != before["scorer"]
    assert changed(before, keys(SUPERNET, "search.channels=16"))[0] == "scorer"
    later = changed(before, keys(SUPERNET, "search.architecture_learning_rate=1e-3"))
    assert later == ["search", "retrain"]
    assert changed(before, keys(SUPERNET, "scorer.cuda_graph=off")) == []
    graph = build_graph(STAGES, load_config(QUICKSTART, [SUPERNET, "subset.measure=random"]))
    assert set(graph.predecessors("search")) == {"data", "subset", "scorer"}


def test_a_config_with_a_supernet_reads_back_to_itself(tmp_path):
    config = load_config(QUICKSTART, [SUPERNET])
    path = tmp_path / "x.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_a_record_is_scored_without_a_pass(tmp_path, capsys):
    assert run(tmp_path, "subset", *RECORD, "scorer.epochs=6", "scorer.stop_epoch=5") == 0
    record = np.load(artifact(tmp_path, "scorer") / TRAINING_LOSSES)
    losses = np.load(artifact(tmp_path, "scores") / "losses.npy")
    assert record.shape == (120, 5)
    assert losses.shape == (120, 4)
    seen = ~np.isnan(record[:, 1:])
    np.testing.assert_array_equal(losses[seen], record[:, 1:][seen])
    assert len(json.loads((artifact(tmp_path, "subset") / "subset.json").read_text())["indices"])
    assert not list(artifact(tmp_path, "scores").glob("checkpoint-*"))


def test_the_supernet_scores_the_images_and_the_search_goes_on_from_it(tmp_path):
    assert run(tmp_path, "search", SUPERNET) == 0
    scorer, search = (artifact(tmp_path, stage) for stage in ("scorer", "search"))
    assert np.load(artifact(tmp_path, "scores") / "losses.npy").shape == (120, 4)
    start = load_checkpoint(scorer / "supernet.safetensors")
    assert {"model", "optimizer"} == set(start)
    assert [row["epoch"] for row in read_metrics(scorer)] == [1]
    assert [row["epoch"] for row in read_metrics(search)] == [2, 3]
    inputs = json.loads((search / MANIFEST).read_text())["inputs"]
    assert inputs["scorer"]["fingerprint"] == scorer.name
    # EL2N needs logits alone, and the same warm-up serves it.
    assert run(tmp_path, "subset", SUPERNET, "subset.measure=el2n") == 0
    assert np.load(artifact(tmp_path, "baseline") / "values.npy").shape == (120,)
    assert artifact(tmp_path, "scorer") == scorer


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["scorer.stop_epoch=5"], "scorer.stop_epoch: found 5; exceeds the schedule; allowed:"),
        (["scores.source=training"], "scores.source: found 'training', but the scorer records no"),
        ([*RECORD, "scores.draws=5"], "scores.draws: found 5, but the scorer trains for 4 epochs"),
        ([*RECORD, "scorer.stop_epoch=3"], "scores.draws: found 4, but the scorer trains for 3"),
        ([*RECORD, "scores.loss=anchor_ce"], "scores.loss: found 'anchor_ce'; cannot be used"),
        ([*RECORD, "scores.common_draws=true"], "scores.common_draws: found True; cannot be"),
        ([SUPERNET, "scores.source=training"], "scores.source: found 'training', but the scorer"),
        ([SUPERNET, "scorer.epochs=60"], "scorer.epochs: found 60; cannot be used with"),
        ([SUPERNET, "scorer.momentum=0.8"], "scorer.momentum: found 0.8; cannot be used"),
        ([SUPERNET, "scorer.precision=bf16"], "scorer.precision: found 'bf16'; cannot be"),
        ([SUPERNET, "scorer.stop_epoch=2"], "scorer.stop_epoch: found 2; cannot be"),
        ([SUPERNET, "scorer.mixing.kind=cutmix"], "scorer.mixing: num_images 3 cannot be used"),
        (
            [SUPERNET, "scorer.mixing={kind: manifold_mixup}"],
            "scorer.mixing: kind manifold_mixup cannot be used with model: supernet",
        ),
        ([SUPERNET, "search.warmup_epochs=0"], "search.warmup_epochs: found 0, which leaves"),
        ([SUPERNET, "goal=classifier"], "scorer.model: found 'supernet', but the goal is"),
        ([SUPERNET, "subset.measure=k_center"], "subset.measure: found 'k_center', which uses"),
        ([SUPERNET, "subset.measure=mc_dropout"], "subset.measure: found 'mc_dropout', which use"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, overrides, expected):
    assert run(tmp_path, "scorer", *overrides) == 2
    message = capsys.readouterr().err.strip()
    assert expected in message
    assert "\n" not in message
