"""A run with a contest: several searches on one subset, and the winner is retrained."""

import json
from unittest import mock

import pytest

from evaluate import contest
from evaluate.complexity import measure_complexity
from pcdarts.genotype import Genotype
from pcdarts.network import CifarNetwork
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


def figures_in_the_page_only():
    """Without the PNG and PDF files, which take most of a report's time; `finished` writes them."""
    return mock.patch("pipeline.reports.picture.save_figure")


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
    assert "is evaluated on (test images) were not used." in " ".join(text.split())
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
    with figures_in_the_page_only():
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


def parameters(genotype, channels):
    """Of the network to retrain, counted directly."""
    cells = Genotype.from_dict(genotype, "test")
    return measure_complexity(
        lambda: CifarNetwork(cells, 3, channels, cells=3, auxiliary=False), 8
    ).parameters


@pytest.fixture(scope="module")
def limit(results):
    """A budget that all contestants keep, but for those with the largest narrowest network."""
    return max(parameters(each["genotype"], 2) for each in results["contest"]["contestants"]) - 1


@pytest.fixture(scope="module")
def budgeted(finished, limit):
    """The run again, with a budget; the latency is so long that it decides nothing."""
    budget = f"budget={{parameters: {limit}, latency: 1000s}}"
    with figures_in_the_page_only():
        assert finished.run(budget, name="budgeted") == 0
    return finished.results("budgeted")["contest"]


def test_each_contestant_has_the_widest_network_within_the_budget(budgeted, limit):
    assert budgeted["contestants"]
    for each in budgeted["contestants"]:
        channels = each["channels"]
        within, beyond = (parameters(each["genotype"], n) for n in (channels, channels + 2))
        assert within <= limit < beyond
        assert (each["width"]["parameters"], each["width"]["next"]["parameters"]) == (
            within,
            beyond,
        )


def test_a_contestant_that_fits_at_no_width_is_out_and_named(budgeted, limit, finished, results):
    out = [each["name"] for each in budgeted["out"]]
    fitting = [each["name"] for each in budgeted["contestants"]]
    entered = results["contest"]["contestants"]
    assert out == [e["name"] for e in entered if parameters(e["genotype"], 2) > limit]
    assert fitting == [e["name"] for e in entered if parameters(e["genotype"], 2) <= limit]
    reason = f"{out[0]} (parameters: {limit:,} is below the {limit + 1:,} of the narrowest network"
    assert f"Out, because no width fits: {reason}" in " ".join(finished.report("budgeted").split())
    page = finished.read("budgeted/report/report.html")
    assert f"Out, because no width fits: {out[0]}" in page


def test_the_winner_is_retrained_at_the_width_with_which_it_won(budgeted, finished):
    network = finished.results("budgeted")["network"]
    winner = next(c for c in budgeted["contestants"] if c["name"] == budgeted["winner"])
    assert network["channels"] == winner["channels"]
    assert network["width"] == winner["width"]


def test_a_stopped_contest_keeps_its_widths(finished, budgeted, limit, monkeypatch):
    honest, calls = contest.retrain, []

    def stopping(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return honest(*arguments, **named)

    before = {
        name: (finished.artifact("contest", "budgeted") / name).read_bytes()
        for name in ("contest.json", "genotype.json", "metrics.jsonl")
    }
    monkeypatch.setattr(contest, "retrain", stopping)
    again = ["--only", "contest", "--force", "contest"]
    budget = f"budget={{parameters: {limit}, latency: 1000s}}"
    assert finished.run(budget, name="budgeted", options=again) == 130

    def slow(network, image_size, device):
        """Another measurement, in which only the lightest network keeps the latency."""
        return 2e6 if sum(each.numel() for each in network.parameters()) > 700 else 1.0

    monkeypatch.setattr("evaluate.width.measure_latency", slow)
    assert finished.run(budget, name="budgeted", options=again) == 0
    after = finished.artifact("contest", "budgeted")
    assert {name: (after / name).read_bytes() for name in before} == before


BUDGETS = (
    "budget=[{{parameters: {limit}, latency: 1000s}}, {{parameters: 9K}}, {{parameters: {near}}}]"
)


@pytest.fixture(scope="module")
def several(finished, limit):
    """The run again, with three budgets; the last allows few parameters more than the first."""
    budgets = BUDGETS.format(limit=limit, near=limit + 1)
    fewer = ("random=1", "last_epochs=0", "published=[]", "rounds=1")
    with figures_in_the_page_only():
        assert finished.run(budgets, *(f"contest.{each}" for each in fewer), name="budgets") == 0
    return finished.results("budgets")


def test_an_architecture_enters_once_for_each_width_of_the_budgets(several, limit):
    entered = several["contest"]["contestants"]
    pairs = [(each["architecture"], each["channels"]) for each in entered]
    assert len(set(pairs)) == len(pairs)
    limits = (limit, 9000, limit + 1)
    for each in entered:
        within, beyond = (parameters(each["genotype"], each["channels"] + n) for n in (0, 2))
        assert each["budgets"] == [n for n in range(3) if within <= limits[n] < beyond]
    out = [(each["name"], each["budget"]) for each in several["contest"]["out"]]
    chosen = [(each["architecture"], n) for each in entered for n in each["budgets"]]
    names = ("search", "search-2", "random 1")
    assert sorted(out + chosen) == sorted((name, n) for name in names for n in range(3))
    assert [0, 2] in [each["budgets"] for each in entered]  # of equal widths one is trained
    trained = several["contest"]["rounds"][0]["contestants"]
    assert trained == len(entered) < len(chosen)


def test_each_budget_has_a_winner_among_its_contestants(several):
    contest = several["contest"]
    named = {each["name"]: each for each in contest["contestants"]}
    for index, each in enumerate(contest["budgets"]):
        winner = named[each["winner"]]
        own = [other for other in named.values() if index in other["budgets"]]
        assert winner in own
        best = max(other["held_out_accuracies"][0] for other in own)
        assert winner["held_out_accuracies"] == [best]
        assert sum(kind["n"] for kind in each["first_round"].values()) == len(own)
    assert contest["winners"] == [each["winner"] for each in contest["budgets"]]
    assert contest["first_round"] == contest["budgets"][0]["first_round"]


def test_the_first_budget_s_winner_is_retrained_at_its_width(several, limit):
    contest, network = several["contest"], several["network"]
    assert contest["winner"] == contest["winners"][0]
    winner = next(each for each in contest["contestants"] if each["name"] == contest["winner"])
    assert several["genotype"] == winner["genotype"]
    assert network["channels"] == winner["channels"]
    assert network["parameters"] <= limit
    assert network["width"]["budget"] == {"parameters": limit, "latency": "1000000.0ms"}


def test_the_reports_name_the_winner_of_each_budget(several, finished):
    text, page = finished.report("budgets"), finished.read("budgets/report/report.html")
    for index, each in enumerate(several["contest"]["budgets"], 1):
        assert any(
            line.startswith(f"| {index}: parameters") and f"| {each['winner']} |" in line
            for line in text.splitlines()
        )
        assert each["winner"] in page
    assert "2: parameters 9,000" in page


def test_a_list_of_one_budget_is_that_budget(finished):
    own = "{parameters: 5K, latency: 1000s}"
    assert keys(finished.folder, f"budget=[{own}]") == keys(finished.folder, f"budget={own}")


def test_no_contestant_within_the_budget_is_one_line(finished, capsys):
    # Below every contestant, yet not below the lightest network.
    assert finished.run("budget.parameters=620", name="none") == 2
    error = capsys.readouterr().err
    assert "budget: no contestant fits it (search: parameters: 620 is below the " in error
    assert error.count("\n") == 1


def test_a_dry_run_does_not_take_the_width_of_a_search_for_the_winner_s(finished, capsys):
    options = ["--dry-run"]
    assert finished.run("budget.parameters=9K", name="dry", options=options) == 0
    assert "width: the contest chooses that of each contestant" in capsys.readouterr().out


def test_the_order_of_the_stages(finished):
    config = load_config(finished.folder / "tiny.yaml")
    order = stage_order(build_graph(STAGES, config), STAGES)
    assert order == ["scorer", "scores", "subset", "search", "search-2", "contest", "retrain"]


def test_another_number_of_searches_reuses_those_that_are_made(finished):
    two, three = (keys(finished.folder, f"contest.restarts={n}") for n in (2, 3))
    assert three["search-2"] == two["search-2"]
    assert three["search-3"] not in two.values()
    assert three["contest"] != two["contest"]


def test_several_budgets_without_a_contest_are_refused(tmp_path, capsys):
    budgets = "budget=[{parameters: 5K}, {parameters: 9K}]"
    assert Place(tmp_path, TINY).run(budgets) == 2
    error = capsys.readouterr().err
    assert "budget: found a list of 2 without a contest; allowed: one budget, or a contest" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("contest={random: 0}", "contest: no contestants other than the search's genotype"),
        ("contest.restarts=0", "contest.restarts: found 0"),
        ("genotype=darts_v1", "tiny.yaml: genotype: found together with contest"),
        ("contest.published=[darts_v9]", "contest.published.0: found 'darts_v9'"),
        ("contest.training.batch_size=300", "contest.training.batch_size: 300 exceeds the 57"),
        ("contest.round=2", "contest.round: unknown key"),
        ("contest.training.validation_fraction=0.1", "contest.training: "),
        ("budget=[]", "budget: found []; an empty list; allowed: a budget, or a list of different"),
        ("budget=[{parameters: 5K}, {parameters: 5000}]", "; two equal budgets; allowed: "),
        ("budget=[{parameters: 5K}, {latency: 20}]", "budget.1.latency: found 20; allowed: a time"),
        ("budget=[{parameters: 5K}, {}]", "budget.1: allowed: at least one of parameters"),
        ("budget=[{parameters: 5K}, {parameter: 5}]", "budget.1.parameter: unknown key"),
        ("budget=[{parameters: 5K}, {parameters: 300}]", "budget.1.parameters: 300 is below the "),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, override, expected):
    assert Place(tmp_path, TINY + CONTEST).run(override) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()
