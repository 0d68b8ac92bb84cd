"""A study whose error is that of the networks found, trained equally in each trial's contest."""

import json
from statistics import mean

import pytest

BASE = """\
data: {kind: digits, classes: 3, images_per_class: 20}
scorer: {model: resnet8, epochs: 1, batch_size: 20, learning_rate: 0.1, schedule: one_cycle}
scores: {draws: 4}
search: {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 6}
retrain: {batch_size: 12}
contest:
  {restarts: 2, random: 1, rounds: 2,
   training: {channels: 4, cells: 3, epochs: 1, batch_size: 12}}
"""
STUDY = """\
name: found
base: base.yaml
seeds: 1
error: contest
points: [{subset.fraction: 0.4}]
reference: high CV
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: full data, set: {subset.measure: full}}
"""


@pytest.fixture(scope="module")
def study(sweep_in_folder):
    """The results and the page, with the contests that were held, by series."""
    folder = sweep_in_folder(BASE, STUDY)
    results = json.loads((folder / "runs/found/results.json").read_text())
    contests = {}
    for trial in results["trials"]:
        contest = folder / "artifacts/contest" / trial["stages"]["contest"] / "contest.json"
        contests[trial["series"]] = json.loads(contest.read_text())
    return results, (folder / "runs/found/report.md").read_text(), contests


def test_the_error_is_the_mean_over_the_networks_found_after_the_first_round(study):
    results, page, contests = study
    for trial in results["trials"]:
        found = [
            100 * (1 - each["held_out_accuracies"][0])
            for each in contests[trial["series"]]["contestants"]
            if each["name"] in ("search", "search-2")
        ]
        assert len(found) == 2
        assert trial["accuracy"]["held_out_errors"] == pytest.approx(found)
        assert trial["accuracy"]["top1_error_last"] == pytest.approx(mean(found))
        assert f"| {mean(found):.2f} |" in page


def test_the_networks_of_all_trials_train_equally(study):
    _, _, contests = study
    first, other = contests.values()
    assert first["images"] == other["images"]
    assert first["rounds"][0] == other["rounds"][0] == {"contestants": 3, "epochs": 1}
    random = [contest["contestants"][2] for contest in contests.values()]
    assert random[0] == random[1] | {"held_out_accuracies": random[0]["held_out_accuracies"]}
    assert random[0]["held_out_accuracies"][0] == random[1]["held_out_accuracies"][0]


def test_nothing_is_retrained(study):
    results, page, _ = study
    stages = {trial["series"]: set(trial["stages"]) for trial in results["trials"]}
    searched = {"subset", "search", "search-2", "contest"}
    assert stages == {"high CV": {"scorer", "scores", *searched}, "full data": searched}
    assert "is evaluated on (test images) are not used." in " ".join(page.split())


def test_seconds_of_scorer_scoring_search_and_contest_are_apart(study):
    results, page, _ = study
    table = page.partition("Seconds of each part")[2].splitlines()[2:]
    assert table[0] == "|  | scorer | scoring | search | contest |"
    for row, trial in zip(table[2:4], results["trials"], strict=True):
        cost = {name: 3600 * hours for name, hours in trial["cost"]["stages"].items()}
        scoring = cost.get("scores", 0) + cost["subset"]
        searches = cost["search"] + cost["search-2"]
        shown = [f"{cost['scorer']:,.0f}" if "scorer" in cost else "–"]
        shown += [f"{seconds:,.0f}" for seconds in (scoring, searches, cost["contest"])]
        assert row.strip("| ").split(" | ")[1:] == shown
