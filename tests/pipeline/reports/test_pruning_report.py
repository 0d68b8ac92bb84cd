"""A run whose search drops images: its artifact, ledger and report."""

import json

import pytest

from classification.settings import effective_settings
from pcdarts.search_config import SearchConfig
from pipeline.reports.pruning import show_pruning
from pipeline.store.ledger import Ledger
from tests.tiny import Place

PRUNING = "{warmup_fraction: 0.6, after_epochs: 2, rounds: 1, final_fraction: 0.5}"
QUICK = (
    "subset={measure: random, fraction: 0.5}",  # 12 images of each of 3 classes
    "search={epochs: 4, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 9}",
    f"search.pruning={PRUNING}",
    "retrain.epochs=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("pruned"))
    assert made.run(*QUICK) == 0
    return made


def test_the_artifact_has_the_kept_images_of_every_round(place):
    subset = json.loads((place.artifact("subset") / "subset.json").read_text())["indices"]
    found = json.loads((place.artifact("search") / "pruning.json").read_text())
    assert found["images"] == [18, 18]
    (kept,) = (each["kept"] for each in found["rounds"])
    assert [len(kept[name]) for name in ("weights", "architecture")] == [9, 9]
    sample = found["warmup"]["images"]
    assert [len(sample[name]) for name in ("weights", "architecture")] == [12, 12]
    assert set(sample["weights"]) | set(sample["architecture"]) < set(subset)
    assert set(kept["weights"]) | set(kept["architecture"]) < set(subset)
    assert not set(kept["weights"]) & set(kept["architecture"])


def test_the_ledger_has_the_cost_of_the_round_within_that_of_the_search(place):
    (attempt,) = (
        each
        for each in Ledger(place.folder / "artifacts" / "ledger.jsonl").attempts()
        if each.stage == "search"
    )
    assert list(attempt.parts) == ["pruning round 1"]
    assert 0 < attempt.parts["pruning round 1"] < attempt.seconds


def test_the_report_has_a_line_and_a_table_of_the_rounds(place):
    found = place.results()["pruning"]
    assert found["by"] == "dynamics"
    (each,) = found["searches"]["search"]["rounds"]
    assert (each["epoch"], each["fraction"]) == (2, 0.5)
    assert each["images"] == {"weights": 9, "architecture": 9}
    # Of 6 images of each class in either half 4 are the sample of 0.6.
    assert found["searches"]["search"]["warmup"] == {"weights": 12, "architecture": 12}
    line = (
        "of 18 for the weights 9 were left, and of 18 for α and β 9. Until the first round it "
        "trained on a random 60.0% of each class: 12 images for the weights and 12 for α and β."
    )
    assert line in " ".join(place.report().split())
    assert "| 1 | 2 | 50.0% | 9 | 9 |" in place.report()
    assert "Images dropped during the search" in place.read("tiny/report/report.html")


def test_a_round_that_leaves_less_than_a_batch_is_refused_before_anything_runs(place, capsys):
    assert place.run(*QUICK, "search.batch_size=10", name="refused") == 2
    message = capsys.readouterr().err
    assert "leaves 9, less than a batch (search.batch_size: 10)" in message
    assert len(message.splitlines()) == 1
    assert place.run(*QUICK, "search.pruning.warmup_fraction=0.4", name="refused") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "search.pruning.warmup_fraction: 0.4 of the 18 images for the weights leaves 6" in line


def test_pruning_before_the_end_of_a_warm_up_that_is_the_scorer_is_refused(place, capsys):
    """The supernet, as scorer, trains through the epochs that pruning would observe."""
    supernet = ("scorer={model: supernet}", "subset={measure: cv, fraction: 0.5}")
    assert place.run(*QUICK, *supernet, "search.warmup_epochs=2", name="refused") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "search.pruning.after_epochs: epoch 1 is observed or pruned" in line
    assert "the search begins after epoch 2; allowed: later epochs" in line


def test_a_table_of_several_searches_has_the_rounds_of_each():
    def search(*hours):
        left = {"weights": 9, "architecture": 9}
        rounds = [{"epoch": 2, "fraction": 0.5, "images": left, "hours": each} for each in hours]
        return {"images": [18, 18], "rounds": rounds}

    found = {
        "by": "random",
        "warmup_fraction": None,
        "unit": "CPU-hours",
        "searches": {"search": search(1.0, 2.0)},
    }
    assert "search" not in show_pruning({"pruning": found})["columns"]
    found["searches"]["search-2"] = search(3.0, 4.0)
    shown = show_pruning({"pruning": found})
    assert shown["columns"]["search"] == ["search"] * 2 + ["search-2"] * 2
    assert shown["columns"]["round"] == ["1", "2"] * 2
    assert "In 2 rounds each of 2 searches dropped images" in shown["line"]
    assert "The rounds cost 10 CPU-hours" in shown["line"]


def test_a_search_that_keeps_all_images_has_the_settings_it_had_before():
    assert "pruning" not in effective_settings(SearchConfig())


def test_pruning_without_a_sample_has_the_settings_it_had_before():
    found = effective_settings(SearchConfig.model_validate({"pruning": {}}))["pruning"]
    assert "warmup_fraction" not in found
    sampled = SearchConfig.model_validate({"pruning": {"warmup_fraction": 0.1}})
    assert effective_settings(sampled)["pruning"] == found | {"warmup_fraction": 0.1}
