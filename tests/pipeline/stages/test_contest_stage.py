"""A run with a contest: several searches on one subset, and the winner is retrained."""

import json

import pytest

from evaluate import contest
from pcdarts.genotype import Genotype
from pcdarts.published_genotypes import GENOTYPES
from pipeline.config import load_config
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.stages import STAGES
from run_pipeline import main
from tests.tiny import TINY, Place

CONTEST = """
contest:
  {restarts: 2, last_epochs: 1, random: 2, published: [darts_v1], rounds: 2, share_kept: 0.4,
   training: {channels: 4, cells: 3, epochs: 1, batch_size: 32}}
"""
CONTENT = {"data": "images", "target": "images"}


def keys(folder, *overrides):
    return fingerprints(STAGES, load_config(folder / "tiny.yaml", overrides), CONTENT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search without a contest, then a run with one, in the same store."""
    place = Place(tmp_path_factory.mktemp("several"), TINY + CONTEST)
    assert place.run("contest=null", name="alone", options=["--until", "search"]) == 0
    assert place.run() == 0
    return place


@pytest.fixture(scope="module")
def results(finished):
    return finished.results()


def made(place):
    lines = (place.folder / "artifacts/ledger.jsonl").read_text().splitlines()
    return [json.loads(line)["stage"] for line in lines]


def test_the_searches_share_the_subset_and_the_first_is_the_run_s_own(finished):
    stages = ["scorer", "scores", "subset", "search"]
    assert made(finished)[:7] == [*stages, "search-2", "contest", "retrain"]
    alone, both = (keys(finished.folder, *each) for each in (["contest=null"], []))
    assert {name: both[name] for name in stages} == {name: alone[name] for name in stages}
    assert "contest" not in alone
    assert alone["retrain"] != both["retrain"]


def test_restarts_are_searches_with_other_seeds(finished):
    paths = [finished.artifact(stage) for stage in ("search", "search-2")]
    first, second = ((path / "metrics.jsonl").read_text() for path in paths)
    assert first != second


def test_every_contestant_is_in_the_results_and_the_winner_is_retrained(finished, results):
    found = results["contest"]
    kinds = [each["kind"] for each in found["contestants"]]
    earlier = kinds.count("earlier epoch")  # none if the last epoch changed nothing
    assert kinds == ["found"] * 2 + ["earlier epoch"] * earlier + ["random"] * 2 + ["published"]
    names = [each["name"] for each in found["contestants"]]
    assert names[:2] == ["search", "search-2"]
    assert names[-1] == "darts_v1"
    assert found["contestants"][-1]["genotype"] == GENOTYPES["darts_v1"].to_dict()
    winner = found["contestants"][names.index(found["winner"])]
    retrained = Genotype.load(finished.artifact("contest") / "genotype.json")
    assert retrained.to_dict() == results["genotype"] == winner["genotype"]
    parameters = json.loads((finished.artifact("retrain") / "network.json").read_text())
    assert parameters["parameters"] == results["network"]["parameters"]


def test_the_comparison_is_that_of_the_first_round_in_which_all_trained(results):
    found = results["contest"]
    first = [each["held_out_accuracies"][0] for each in found["contestants"]]
    assert found["rounds"][0]["contestants"] == len(first)
    kinds = [each["kind"] for each in found["contestants"]]
    random = [value for value, kind in zip(first, kinds, strict=True) if kind == "random"]
    assert found["first_round"]["random"]["mean"] == pytest.approx(sum(random) / 2)
    assert found["first_round"]["random"]["n"] == 2
    assert found["relative_improvement"]["found"] == 2


def test_the_contest_costs_beside_the_search_and_the_subset(results):
    cost = results["cost"]
    stages = cost["stages"]
    assert cost["searches"] == 2
    alone = stages["search"] + stages["search-2"]
    assert cost["search_alone"] == pytest.approx(alone, abs=1e-7)
    before = stages["scorer"] + stages["scores"] + stages["subset"]
    assert cost["total"] == pytest.approx(before + alone, abs=1e-7)
    assert cost["contest"] == stages["contest"] > 0
    with_retraining = cost["total"] + cost["contest"] + stages["retrain"]
    assert cost["total_with_retraining"] == pytest.approx(with_retraining, abs=1e-7)


def test_the_reports_answer_whether_the_search_paid(finished, results):
    text, page = finished.report(), finished.read("tiny/report/report.html")
    assert "**Was the search worth it?**" in text
    assert "## The contest" in text
    assert "| **contest** |" in text
    assert "(contest.png)" in text
    for suffix in ("png", "pdf"):
        assert (finished.folder / f"runs/tiny/report/contest.{suffix}").exists()
    assert "Was the search worth it?" in page
    assert 'id="contest"' in page
    assert all(each["latency_ms"] > 0 for each in results["contest"]["contestants"])
    assert f"of {results['contest']['winner']}, which won a contest" in text


def test_an_export_has_the_genotype_of_the_winner(finished, results, tmp_path):
    options = ["--runs", str(finished.folder / "runs")]
    assert main(["export", "tiny", "--as", "genotype", "-o", str(tmp_path / "g"), *options]) == 0
    assert Genotype.load(tmp_path / "g/genotype.json").to_dict() == results["genotype"]


def test_a_second_run_trains_no_contestant_and_both_can_be_compared(
    finished, monkeypatch, tmp_path
):
    monkeypatch.setattr(contest, "retrain", None)
    assert finished.run(name="again") == 0
    page, options = tmp_path / "both.html", ["--runs", str(finished.folder / "runs")]
    assert main(["report", "tiny", "again", "-o", str(page), *options]) == 0
    text = page.read_text()
    assert '<th scope="row">contest</th>' in text
    assert "found over random" in text


def test_a_stopped_contest_ends_with_the_same_bytes(finished, monkeypatch):
    """Ctrl-C in the third of its trainings; two are not repeated."""
    honest, calls = contest.retrain, []

    def stopping(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(*arguments, **named)

    path = finished.artifact("contest") / "contest.json"
    before, trained = (
        path.read_bytes(),
        sum(each["contestants"] for each in json.loads(path.read_text())["rounds"]),
    )
    monkeypatch.setattr(contest, "retrain", stopping)
    assert finished.run(options=["--only", "contest", "--force", "contest"]) == 130
    assert finished.run(options=["--only", "contest", "--force", "contest"]) == 0
    assert len(calls) == trained + 1
    assert path.read_bytes() == before


def test_the_order_of_the_stages(finished):
    config = load_config(finished.folder / "tiny.yaml")
    order = stage_order(build_graph(STAGES, config), STAGES)
    assert order == ["scorer", "scores", "subset", "search", "search-2", "contest", "retrain"]


def test_another_number_of_searches_reuses_those_that_are_made(finished):
    two, three = (keys(finished.folder, f"contest.restarts={n}") for n in (2, 3))
    assert three["search-2"] == two["search-2"]
    assert three["search-3"] not in two.values()
    assert three["contest"] != two["contest"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("contest={random: 0}", "contest: no contestants other than the search's genotype"),
        ("contest.restarts=0", "contest.restarts: found 0"),
        ("contest.published=[darts_v9]", "contest.published.0: found 'darts_v9'"),
        ("contest.training.batch_size=300", "contest.training.batch_size: 300 exceeds the 57"),
        ("contest.round=2", "contest.round: unknown key"),
        ("contest.training.validation_fraction=0.1", "contest.training: "),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, override, expected):
    assert Place(tmp_path, TINY + CONTEST).run(override) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()
