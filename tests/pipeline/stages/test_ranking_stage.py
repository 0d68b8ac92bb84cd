"""Architectures ranked on a subset, on a random one and on all images."""

import json

import pytest
from markupsafe import Markup

from classification.data.datasets import DataConfig, load_dataset
from evaluate import fidelity
from pcdarts.genotype import Genotype
from pipeline.config import load_config
from pipeline.graph import fingerprints
from pipeline.reports.page import fill_template
from pipeline.reports.picture import Picture
from pipeline.stages import STAGES
from run_pipeline import main
from tests.html_page import check_self_contained, read_page
from tests.tiny import Place

TINY = """
name: tiny
data:    {kind: digits, classes: 2, images_per_class: 12}
scorer:  {model: resnet8, epochs: 1, batch_size: 12, mixing: {kind: none}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
fidelity:
  {architectures: 3, training: {channels: 4, cells: 3, epochs: 1, batch_size: 6}}
"""


def rank(place, *overrides, name=None, options=()):
    return place.run(*overrides, name=name, command="fidelity", options=options)


@pytest.fixture(scope="module")
def counted():
    """The networks trained so far."""
    trained, honest = [], fidelity.retrain

    def counting(genotype, dataset, *arguments, **named):
        trained.append(len(dataset.train))
        return honest(genotype, dataset, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "retrain", counting)
        yield trained


@pytest.fixture(scope="module")
def finished(tmp_path_factory, counted):
    place = Place(tmp_path_factory.mktemp("fidelity"), TINY)
    assert rank(place) == 0
    place.trained = list(counted)
    return place


@pytest.fixture
def results(finished):
    return json.loads(finished.read("tiny-fidelity/results.json"))


def test_each_architecture_is_trained_once_on_each_of_three_sets(finished):
    assert finished.trained == 3 * [12] + 3 * [12] + 3 * [24]


def test_the_architectures_are_the_same_on_every_set(finished, results):
    for measure in ("cv", "random", "full"):
        path = finished.artifact("ranking", f"tiny-fidelity-{measure}") / "ranking.json"
        rows = json.loads(path.read_text())
        assert [set(row) for row in rows] == 3 * [{"genotype", "parameters", "top1_error"}]
        assert [row["genotype"] for row in rows] == [
            each["genotype"] for each in results["architectures"]
        ]
        errors = [row["top1_error"] for row in rows]
        assert results["rankings"][measure]["top1_errors"] == errors
        assert Genotype.from_dict(rows[0]["genotype"]) != Genotype.from_dict(rows[1]["genotype"])


def test_nothing_of_a_network_in_the_making_is_published(finished):
    folder = finished.artifact("ranking", "tiny-fidelity-cv")
    files = {path.name for path in folder.rglob("*")}
    assert files == {"ranking.json", "metrics.jsonl", "artifact.json"}


def test_the_results_correlate_each_part_with_the_full_data(results):
    assert set(results["correlations"]) == {"cv", "random"}
    assert results["correlations"]["cv"]["architectures"] == 3
    sizes = {m: ranking["subset"]["size"] for m, ranking in results["rankings"].items()}
    assert sizes == {"cv": 12, "random": 12, "full": 24}
    full = results["rankings"]["full"]["top1_errors"]
    for measure, correlation in results["correlations"].items():
        errors = results["rankings"][measure]["top1_errors"]
        again = fidelity.rank_correlation(errors, full, seed=0)
        assert correlation["tau"] == again.tau


def test_the_report_prints_them_with_their_cost(finished, results):
    text = finished.read("tiny-fidelity/report.md")
    tau = fidelity.RankCorrelation(**results["correlations"]["cv"])
    assert f"| high-CV | {tau} |" in text
    assert "| full data | 24 |" in text
    assert "(ranking.png)" in text
    assert (finished.folder / "runs/tiny-fidelity/ranking.png").exists()
    page = finished.folder / "runs/tiny-fidelity/report.html"
    check_self_contained(page)
    assert f"{tau} on high-CV;" in read_page(page).text
    for ranking in results["rankings"].values():
        assert ranking["cost"]["unit"] == "CPU-hours"
        assert ranking["cost"]["ranking"] > 0


def test_the_page_names_the_images_of_the_errors(finished, results):
    assert "| error | top-1 on the test images after the" in finished.read(
        "tiny-fidelity/report.md"
    )
    data = {"line": "a line", "evaluated": "val"}
    values = {"results": results, "data": data, "training": results["fidelity"]["training"]}
    picture = Picture("a title", "ranking.png", Markup())
    values |= {"correlations": {}, "rows": [], "own_is_random": False, "picture": picture}
    assert "| error | top-1 on the val images after the" in fill_template("fidelity.md.j2", values)


def test_a_second_call_trains_nothing(finished, counted):
    counted.clear()
    before = finished.read("tiny-fidelity/report.md")
    assert rank(finished) == 0
    assert not counted
    assert finished.read("tiny-fidelity/report.md") == before


def test_another_subset_shares_the_ranking_on_all_images(finished, counted):
    counted.clear()
    changes = ["subset.measure=mean_low", "subset.order=interval"]
    assert rank(finished, *changes, name="low") == 0
    assert counted == 3 * [12]
    assert set(json.loads(finished.read("low-fidelity/results.json"))["correlations"]) == {
        *("mean_low", "random"),
    }


def test_a_random_subset_is_trained_on_once(finished, counted):
    counted.clear()
    assert rank(finished, "subset.measure=random", name="chance") == 0
    assert not counted
    found = json.loads(finished.read("chance-fidelity/results.json"))
    assert set(found["rankings"]) == {"random", "full"}
    assert "only one part is compared" in finished.read("chance-fidelity/report.md")


def test_status_and_run_know_of_a_ranking(finished, counted, capsys):
    runs = ["--runs", str(finished.folder / "runs")]
    assert main(["status", "tiny-fidelity-cv", *runs]) == 0
    stages = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert stages[:4] == [[name, "done"] for name in ("scorer", "scores", "subset", "ranking")]
    counted.clear()
    assert finished.run("goal=ranking", name=None, command="run") == 0
    assert not counted
    assert "python run_pipeline.py fidelity CONFIG" in capsys.readouterr().out


@pytest.mark.parametrize("network", [0, 2])
def test_a_stopped_ranking_goes_on_and_ends_with_the_same_bytes(
    finished, tmp_path, monkeypatch, capsys, network
):
    """Ctrl-C in a network's only epoch: in the first, and in the last of the random subset."""
    place, honest, calls = Place(tmp_path, TINY), fidelity.retrain, []

    def stopping(*arguments, **named):
        calls.append(arguments)
        if len(calls) == network + 1:
            raise KeyboardInterrupt
        return honest(*arguments, **named)

    random = ["subset.measure=random"]
    with monkeypatch.context() as patch:
        patch.setattr(fidelity, "retrain", stopping)
        assert rank(place, *random) == 130
    assert "resume with: python run_pipeline.py fidelity" in capsys.readouterr().err
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            fidelity, "retrain", lambda *a, **named: calls.append(a) or honest(*a, **named)
        )
        assert rank(place, *random) == 0
    assert len(calls) == (3 - network) + 3
    name = "tiny-fidelity-random"
    ranking = (place.artifact("ranking", name) / "ranking.json").read_bytes()
    assert ranking == (finished.artifact("ranking", name) / "ranking.json").read_bytes()
    lines = (tmp_path / "artifacts" / "ledger.jsonl").read_text().splitlines()
    outcomes = [a["outcome"] for a in map(json.loads, lines) if a["stage"] == "ranking"]
    assert outcomes == ["interrupted", "done", "done"]


def test_a_ranking_follows_from_its_settings_alone(finished):
    def key(*overrides):
        config = load_config(finished.folder / "tiny.yaml", ["goal=ranking", *overrides])
        return fingerprints(STAGES, config, {"data": "images"})["ranking"]

    before = key()
    assert key("probe={model: resnet8}") == key("search.epochs=60") == before
    for change in ("fidelity.architectures=4", "fidelity.training.epochs=2", "seed=1"):
        assert key(change) != before


def test_a_dataset_of_fewer_training_images_keeps_their_order():
    data = load_dataset(DataConfig(kind="digits", classes=2, images_per_class=4))
    assert data.with_train((5, 1)).train.labels.tolist() == data.train.labels[[5, 1]].tolist()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["subset.measure=full"], "subset.measure: found 'full', which is the reference"),
        (["fidelity.training.batch_size=13"], "fidelity.training.batch_size: 13 exceeds the 12"),
        (["fidelity.training={network: imagenet}"], "data.image_size: 8 is too small"),
        (["fidelity.architectures=2"], "fidelity.architectures: found 2"),
        (["fidelity.training.validation_fraction=0.2"], "fidelity.training: "),
        (["fidelity.training.epoch=2"], "fidelity.training.epoch: unknown key"),
        (["scorer.batch_size=512"], "scorer.batch_size"),
        (["name=x/y"], "name: found 'x/y'"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, overrides, expected):
    assert rank(Place(tmp_path, TINY), *overrides) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()


def test_a_name_that_leaves_no_room_for_the_runs_is_refused(tmp_path, capsys):
    assert rank(Place(tmp_path, TINY), name=95 * "x") == 2
    assert "name: found" in capsys.readouterr().err


@pytest.fixture(scope="module")
def seeds(finished):
    """A comparison of two seeds, on architectures of growing size."""
    options = ("--seeds", "2")
    assert rank(finished, "fidelity.sampling=spread", name="two", options=options) == 0
    return json.loads(finished.read("two-fidelity/results.json"))


def test_seeds_rank_the_same_architectures(finished, seeds):
    drawn = {}
    for seed in (0, 1):
        path = finished.artifact("ranking", f"two-fidelity-full-{seed}") / "ranking.json"
        rows = json.loads(path.read_text())
        drawn[seed] = [row["genotype"] for row in rows]
        errors = [row["top1_error"] for row in rows]
        assert seeds["rankings"]["full"]["top1_errors_by_seed"][str(seed)] == errors
    assert drawn[0] == drawn[1]
    parameters = [each["parameters"] for each in seeds["architectures"]]
    assert parameters == sorted(parameters)


def test_a_seed_is_ranked_against_the_other_ones_full_data(finished, seeds):
    full = seeds["rankings"]["full"]["top1_errors_by_seed"]
    against = [full["1"], full["0"]]
    for measure in ("cv", "random", "full"):
        own = seeds["rankings"][measure]["top1_errors_by_seed"].values()
        expected = fidelity.mean_rank_correlation(list(own), against, seed=0)
        assert seeds["correlations"][measure]["tau"] == expected.tau
    text = finished.read("two-fidelity/report.md")
    assert "| full data, other seeds |" in text
    assert "| seeds | 0, 1 |" in text
