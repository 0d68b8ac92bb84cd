import json
import re

import numpy as np
import pytest

from classification.classifier import build_scorer
from classification.data.datasets import DataConfig, load_dataset
from classification.models.input_statistics import InputStatistics
from classification.models.weights import save_classifier_weights
from run_pipeline import main

CONFIG = """
name: baseline
data: {kind: digits, classes: 3, images_per_class: 40}
scorer: {model: resnet8, epochs: 1, batch_size: 32, mixing: {kind: none}}
subset: {measure: MEASURE, fraction: 0.25, dropout: {passes: 8}}
search: {epochs: 1, warmup_epochs: 0, batch_size: 8, channels: 4, cells: 3}
retrain: {batch_size: 32}
"""


def make_subset(folder, measure, *overrides):
    """Run up to the subset; what the baseline says of the images, and the subset's indices."""
    path = folder / "baseline.yaml"
    path.write_text(CONFIG.replace("MEASURE", measure))
    store = folder / "artifacts"
    places = ["--artifacts", str(store), "--runs", str(folder / "runs"), "--device", "cpu"]
    settings = [part for override in overrides for part in ("--set", override)]
    assert main(["run", str(path), "--until", "subset", *places, *settings]) == 0
    manifest = json.loads((folder / "runs" / "baseline" / "manifest.json").read_text())
    found = {name: store / name / key for name, key in manifest["stages"].items()}
    values = np.load(found["baseline"] / "values.npy")
    subset = json.loads((found["subset"] / "subset.json").read_text())
    return values, subset["indices"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder whose scorer all measures share."""
    return tmp_path_factory.mktemp("baseline")


@pytest.mark.parametrize(
    "measure", ["mc_dropout", "k_center", "el2n", "entropy", "entropy_low", "moderate"]
)
def test_the_highest_of_each_class_are_kept(measure, store):
    values, indices = make_subset(store, measure)
    assert values.shape == (120,)
    assert values.dtype == np.float32
    assert len(indices) == 30
    data = load_dataset(DataConfig(kind="digits", classes=3, images_per_class=40))
    labels = data.train.labels.numpy()
    for label in range(3):
        members = np.flatnonzero(labels == label)
        highest = members[np.argsort(-values[members], kind="stable")[:10]]
        assert set(highest) == set(indices) & set(members)


@pytest.mark.parametrize("measure", ["el2n_early", "grand"])
def test_early_measures_need_no_scorer(measure, store):
    early = "subset.early={networks: 2}"  # for a tenth of an epoch, rounded up
    values, kept = make_subset(store, measure, early)
    assert (values > 0).all()
    assert len(kept) == 30
    manifest = json.loads((store / "runs" / "baseline" / "manifest.json").read_text())
    assert "scorer" not in manifest["stages"]
    made = store / "artifacts" / "baseline" / manifest["stages"]["baseline"]
    assert not list(made.glob("network-*"))
    assert not list(made.glob("checkpoint-*"))


def test_measures_of_one_recorded_training(store, capsys):
    record = "scorer.record_dynamics=true"
    events, often = make_subset(store, "forgetting", record)
    low, hard = make_subset(store, "aum_low", record)
    assert re.search("scorer +reused", capsys.readouterr().out)
    high, easy = make_subset(store, "aum_high", record)
    assert (low == -high).all()
    assert low.dtype == events.dtype == np.float32
    assert set(events) <= {0, 1}  # of one epoch: learned, or never
    assert not set(hard) & set(easy)
    assert len(often) == 30


@pytest.mark.parametrize(
    ("measure", "order"),
    [("k_center", "deterministic"), ("entropy", "p1"), ("el2n", "ccs")],
)
def test_one_baseline_serves_every_fraction(measure, order, store, capsys):
    ways = [f"subset.order={order}", *(["subset.ccs.strata=10"] if order == "ccs" else [])]
    _, small = make_subset(store, measure, *ways)
    capsys.readouterr()
    _, large = make_subset(store, measure, *ways, "subset.fraction=0.5")
    assert "baseline reused" in capsys.readouterr().out
    assert set(small) < set(large)
    if order != "deterministic":
        _, plain = make_subset(store, measure)
        assert plain != small


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            ["subset.order=ccs"],
            "subset.ccs.strata: found 50, more than the 10 images of class 0 that are kept, so th",
        ),
        (
            ["subset={measure: aum_high, order: ccs, ccs: {beta: 0.5, strata: 5}}"],
            "ccs.beta: found 0.5 with measure aum_high, whose highest values are not those of the",
        ),
        (
            ["subset={measure: mc_dropout, dropout: {rate: 0}}"],
            "subset.dropout.rate: found 0; the mutual information is then 0 for every image; allo",
        ),
        (["subset.order=ccs", "subset.ccs.beta=0.8"], "allowed: at most 0.75"),
        (["subset.order=p2"], "order: found p2 with measure el2n; allowed: measure entropy, or sc"),
        (["subset.ccs.strata=5"], "ccs: has no effect without order: ccs"),
        (["subset.bin_width=1"], "bin_width: has no effect without order p1, p2 or p3"),
        (["subset={measure: random, order: ccs}"], "found ccs with measure random, which gives"),
        (
            ["subset={measure: grand, early: {epoch: 2}}"],
            "subset.early.epoch: found 2, but the scorer's recipe has 1 epochs; allowed: at most ",
        ),
        (
            ["subset.measure=el2n_early", "scorer={model: resnet8, weights: WEIGHTS}"],
            "found 'el2n_early', which trains networks by the scorer's recipe, but the scorer is l",
        ),
        (
            ["subset.measure=aum_low"],
            "found 'aum_low', but the scorer does not record its tra",
        ),
        (
            ["subset.measure=forgetting", "scorer={model: resnet8, weights: WEIGHTS}"],
            "found 'forgetting', but the scorer is loaded, and its training was not r",
        ),
        (
            ["subset={measure: score, order: p1}", "scores.file=FILE"],
            "has -1 for image 2",
        ),
        (
            ["subset={measure: score, order: ccs}", "scores.file=NAN"],
            "found nan for image 1",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_in_one_line(settings, complaint, tmp_path, capsys):
    np.save(tmp_path / "negative.npy", np.arange(120.0) * [1, 1, *[-0.5] * 118])
    np.save(tmp_path / "nan.npy", np.append([0.0, np.nan], np.zeros(118)))
    (tmp_path / "x.yaml").write_text(CONFIG.replace("MEASURE", "el2n"))
    weights = tmp_path / "x.safetensors"
    save_classifier_weights(build_scorer("resnet8", 3, seed=0), weights)
    InputStatistics(mean=(0.5,) * 3, std=(0.2,) * 3).save(tmp_path)
    files = {"WEIGHTS": weights, "FILE": tmp_path / "negative.npy", "NAN": tmp_path / "nan.npy"}
    for name, path in files.items():
        settings = [setting.replace(name, str(path)) for setting in settings]
    places = ["--artifacts", str(tmp_path / "a"), "--runs", str(tmp_path / "r"), "--device", "cpu"]
    chosen = [part for setting in settings for part in ("--set", setting)]
    assert main(["run", str(tmp_path / "x.yaml"), *places, *chosen]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.glob("a/scorer/*"))
