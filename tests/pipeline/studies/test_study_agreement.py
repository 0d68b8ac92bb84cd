"""What a study's page says of rankings and subsets, beside hand-made counts of the same files."""

import json

import numpy as np
import pytest

BASE = """\
data: {kind: digits, classes: 3, images_per_class: 20}
scorer: {model: resnet8, epochs: 2, batch_size: 20, learning_rate: 0.1, schedule: one_cycle}
scores: {draws: 6}
probe: {model: resnet8, epochs: 1, batch_size: 6, learning_rate: 0.1, schedule: one_cycle}
"""
STUDY = """\
name: digits
base: base.yaml
seeds: 2
set: {goal: subset, subset.fraction: 0.4}
points: [{scores.draws: 6}]
agreement: true
reference: high CV
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: easy, set: {subset.measure: mean_low}}
  - {name: far apart, set: {subset.measure: k_center}}
  - {name: random, set: {subset.measure: random}}
  - {name: full data, set: {subset.measure: full}}
"""


@pytest.fixture(scope="module")
def study(sweep_in_folder):
    folder = sweep_in_folder(BASE, STUDY)
    results = json.loads((folder / "runs/digits/results.json").read_text())
    trials, store = results["trials"], folder / "artifacts"
    for trial in trials:
        stages = trial["stages"]
        subset = store / "subset" / stages["subset"] / "subset.json"
        trial["indices"] = set(json.loads(subset.read_text())["indices"])
        if "scores" in stages:
            scores = store / "scores" / stages["scores"]
            trial["losses"] = np.load(scores / "losses.npy")
            table = np.loadtxt(scores / "scores.csv", delimiter=",", skiprows=1)
            trial["labels"] = table[:, 1].astype(int)
    page = (folder / "runs/digits/report.md").read_text()
    by_name = {(trial["series"], trial["seed"]): trial for trial in trials}
    return by_name, results["all_images"], page


@pytest.fixture
def trials(study):
    return study[0]


def shared(first, second):
    return len(first["indices"] & second["indices"]) / len(first["indices"])


def test_overlaps_are_shares_of_the_same_images(trials):
    cv, easy = trials["high CV", 0], trials["easy", 0]
    assert easy["agreement"]["overlap_with_reference"] == pytest.approx(shared(easy, cv))
    assert cv["agreement"]["overlap_mean_low"] == pytest.approx(shared(cv, easy))
    assert easy["agreement"]["overlap_mean_low"] == 1
    across = shared(cv, trials["high CV", 1])
    assert cv["agreement"]["overlap_across_seeds"] == pytest.approx(across)


def test_every_subset_is_compared_with_both_ends_of_the_mean_losses(trials):
    """Those without losses of their own with the losses of the first series of their seed."""
    labels = trials["high CV", 0]["labels"]
    for (name, seed), trial in trials.items():
        losses = trial.get("losses", trials["high CV", seed]["losses"]).astype(float).mean(1)
        for key, order in (("low", losses), ("high", -losses)):
            first = set()
            for label in range(3):
                rows = np.flatnonzero(labels == label)
                first |= set(rows[np.argsort(order[rows], kind="stable")[:8]].tolist())
            found = trial["agreement"][f"overlap_mean_{key}"]
            assert found == pytest.approx(len(first & trial["indices"]) / 24), (name, key)


def test_rankings_are_compared_by_rank(trials):
    def ranks(values):
        return np.argsort(np.argsort(values))

    losses = trials["easy", 0]["losses"].astype(float)
    cv = losses.std(1, ddof=1) / losses.mean(1)
    expected = np.corrcoef(ranks(-losses.mean(1)), ranks(cv))[0, 1]
    assert trials["easy", 0]["agreement"]["with_reference"] == pytest.approx(expected)


def test_what_has_no_ranking_has_no_agreement_of_rankings(trials):
    random = trials["random", 0]["agreement"]
    assert random["across_seeds"] is None
    assert random["split_half"] is None
    assert random["overlap_across_seeds"] == pytest.approx(
        shared(trials["random", 0], trials["random", 1])
    )


def test_every_subset_is_looked_at_by_a_scorer_of_its_seed(trials):
    for trial in trials.values():
        assert 0 <= trial["agreement"]["confused"] <= 1
        assert trial["agreement"]["diversity"] > 0
        assert 0 <= trial["agreement"]["near_duplicates"] <= 1
        assert 0 <= trial["agreement"]["recognised_middle"] <= 1
        assert 0 <= trial["agreement"]["recognised_border"] <= 1


def test_all_images_are_a_row_beside_what_each_setting_keeps(study):
    trials, of_all, page = study
    assert len(of_all) == 2  # scorers
    for seed, figures in enumerate(of_all):
        full = trials["full data", seed]["agreement"]
        assert {key: full[key] for key in figures} == figures
    images = page.partition("diversity of features |")[2].splitlines()[2:]
    assert images[0].startswith("| all images | – | – |")
    images = page.partition("recognised by the border alone |")[2].splitlines()[2:]
    assert images[0].startswith("| all images | ")
    names = [row.split(" | ")[0] for row in images[1:6]]
    assert sorted(names) == [
        "| easy, draws=6",
        "| far apart, draws=6",
        "| full data, draws=6",
        "| high CV, draws=6",
        "| random, draws=6",
    ]


def test_a_reference_is_not_compared_with_itself(trials):
    assert trials["high CV", 0]["agreement"]["overlap_with_reference"] is None
