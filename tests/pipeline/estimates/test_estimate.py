"""The `estimate` command, on a pipeline that takes seconds."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from evaluate.contest_config import ContestConfig
from pcdarts.operations import CANDIDATES
from pipeline.commands.estimate import _line
from pipeline.estimates import estimate as estimates
from pipeline.estimates import measuring, networks, training
from pipeline.estimates.architectures import _heaviest, _lightest, contest_seconds
from pipeline.estimates.expected import RunEstimate, StageEstimate
from pipeline.estimates.measuring import Measuring
from run_pipeline import main
from tests.tiny import TINY


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return tmp_path


def estimate(*arguments):
    return main(["estimate", "tiny.yaml", "--device", "cpu", "--seconds", "1", *arguments])


def document(capsys, *arguments):
    assert estimate("--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_every_stage_has_hours_and_memory_and_nothing_is_written(folder, capsys):
    before = everything(folder)
    assert estimate() == 0
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if "CPU-" in line]
    stages = ["scorer", "scores", "subset", "search", "retrain"]
    assert [line.split()[0] for line in lines[:6]] == [*stages, "total"]
    wall, cost = r"(<1|\d+(\.\d+)?) (s|min|h)", r"(<1|\d+(\.\d+)?) CPU-\w+"
    assert all(re.search(rf" {wall} +{cost}(  |$)", line) for line in lines)  # the wall time first
    assert [re.split(r"CPU-\w+  ", line)[1] for line in lines[6:]] == [
        "scorer + scores + subset + search",
        "search alone",
    ]
    assert "GB" in lines[3]
    assert re.search(rf"{wall} to {wall}: ", lines[4])  # its network is not known yet
    assert re.search(rf"expected: {wall}.* if no other program runs", shown)
    assert "nothing was written" in shown
    assert everything(folder) == before


def test_the_document_adds_up(folder, capsys):
    found = document(capsys)
    hours = {stage["stage"]: stage["hours"] for stage in found["stages"]}
    assert all(value > 0 for value in hours.values())
    assert found["total"] == pytest.approx(sum(hours.values()))
    assert found["before_retraining"] == pytest.approx(found["total"] - hours["retrain"])
    assert found["search_alone"] == hours["search"]
    retrain = found["stages"][-1]
    assert retrain["low"] <= retrain["hours"] <= retrain["high"]
    assert found["unit"] == "CPU-hours"


def test_one_network_is_tried_if_it_takes_long_and_the_range_is_assumed(folder, capsys):
    fast = ["--set", "subset.measure=random", "--seconds", "0.001"]
    retrain = document(capsys, *fast)["stages"][-1]
    assert retrain["low"] == pytest.approx(training.LIGHT * retrain["hours"])
    assert retrain["high"] == pytest.approx(training.HEAVY * retrain["hours"])
    assert "only one network was measured" in retrain["note"]


def test_what_stands_counts_nothing_and_the_ledger_is_left_alone(folder, capsys):
    run = ["run", "tiny.yaml", "--device", "cpu", "--until", "search"]
    assert main(run) == 0
    capsys.readouterr()
    before = everything(folder)
    found = document(capsys)
    assert everything(folder) == before
    hours = {stage["stage"]: stage["hours"] for stage in found["stages"]}
    assert [name for name, value in hours.items() if value == 0] == list(hours)[:4]
    assert found["total"] == hours["retrain"] > 0
    retrain = found["stages"][-1]
    assert (retrain["low"], retrain["high"]) == (None, None)  # its network is known
    assert estimate() == 0
    assert "made for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        (["goal=classifier"], "scorer"),
        (["goal=subset", "subset.measure=el2n"], "scorer baseline subset probe"),
        (["goal=subset", "subset.measure=k_center"], "scorer baseline subset probe"),
        (
            ["goal=subset", "subset.measure=grand", "subset.early={epoch: 1, networks: 2}"],
            "baseline subset probe",
        ),
        (
            ["goal=subset", "subset.measure=forgetting", "scorer.record_dynamics=true"],
            "scorer baseline subset probe",
        ),
        (["scorer={model: supernet}", "search.epochs=3"], "scorer scores subset search retrain"),
        (
            ["scorer.record_losses=true", "scorer.epochs=4", "scores.source=training"],
            "scorer scores subset search retrain",
        ),
        (
            ["subset.measure=random", "subset.architecture_fraction=0.5", "search.warmup_epochs=0"],
            "subset search retrain",
        ),
        (
            [
                "goal=ranking",
                "fidelity={architectures: 3, training: {channels: 4, cells: 3, "
                "epochs: 2, batch_size: 16}}",
                "subset.measure=random",
            ],
            "subset ranking",
        ),
        (
            [
                "contest={restarts: 2, last_epochs: 1, random: 2, rounds: 2, "
                "training: {channels: 4, cells: 3, epochs: 1, batch_size: 16}}",
                "subset.measure=random",
            ],
            "subset search search-2 contest retrain",
        ),
        (
            [
                "contest={random: 2, rounds: 2, "
                "training: {channels: 4, cells: 3, epochs: 1, batch_size: 16}}",
                "subset.measure=random",
                "budget={parameters: 10K}",
            ],
            "subset search contest width retrain",
        ),
        (
            [
                "goal=classifier",
                "robustness={restarts: 2, images: 9}",
                "landscape={images: 9, points: 3, plane_points: 3, noise: [0.1]}",
            ],
            "scorer robustness landscape",
        ),
    ],
)
def test_each_kind_of_run_can_be_estimated(folder, capsys, overrides, stages):
    settings = [part for override in overrides for part in ("--set", override)]
    found = document(capsys, *settings)
    assert [stage["stage"] for stage in found["stages"]] == stages.split()
    assert all(stage["hours"] > 0 for stage in found["stages"])


def test_a_stage_that_the_command_does_not_know_is_named_as_missing(folder, capsys, monkeypatch):
    known = {name: way for name, way in estimates._WAYS.items() if name != "scorer"}
    monkeypatch.setattr(estimates, "_WAYS", known)
    assert document(capsys, "--set", "goal=classifier")["not_estimated"] == ["scorer"]
    assert estimate("--set", "goal=classifier") == 0
    shown = capsys.readouterr().out
    assert "scorer     not estimated: " in shown
    assert "without scorer" in shown


def test_the_networks_that_stand_in_differ_and_every_operation_counts():
    middling, light, heavy = map(networks.layers, networks.draw_medium_light_heavy(seed=0))
    assert light < middling < heavy
    assert set(networks._LAYERS) == set(CANDIDATES)


def test_a_contest_costs_the_trainings_of_all_rounds():
    # Five contestants for 2 epochs, then two for 4: 2 · (1 + 2 + 3 + 4 + 5), and 4 · (1 + 2)
    # if the lightest are kept.
    contest = ContestConfig(rounds=2, share_kept=0.5, training={"epochs": 2})
    counts = [5, 1, 4, 2, 3]

    def cost(layers, epochs):
        return layers * epochs

    assert contest_seconds(contest, counts, cost, _lightest) == 30 + 12
    assert contest_seconds(contest, counts, cost, _heaviest) == 30 + 36
    assert contest_seconds(contest, counts, cost, _lightest, done=3) == 2 * (2 + 3) + 12
    assert contest_seconds(contest, counts, cost, _lightest, done=6) == 4 * 2


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("700", "2 channels"),  # the narrowest of every network drawn has more
        ("1100", "2 channels"),
    ],
)
def test_networks_that_exceed_the_budget_stand_in_for_none(folder, capsys, parameters, expected):
    fast = ["subset.measure=random", f"budget={{parameters: {parameters}}}", "retrain.cells=3"]
    assert estimate(*[part for each in fast for part in ("--set", each)]) == 0
    assert expected in capsys.readouterr().out


def test_a_line_has_the_wall_time_before_the_cost_and_says_which_batch_was_measured():
    # Two cores are held: an hour of wall time is two CPU-hours.
    stage = StageEstimate("retrain", "run", 3.0, 2.0, 4.0, 10**9, note="so it is", cut=1, batch=32)
    words = _line(stage, RunEstimate((stage,), held=2.0), "CPU-hours").split("  ")
    assert [word.strip() for word in words if word.strip()] == [
        "retrain",
        "1.5 h",
        "3 CPU-hours",
        "at least 1.0 GB (measured with batches of 1 image; a run's have 32)",
        "1 h to 2 h: so it is",
    ]
    # 0.9 seconds of two cores
    subset = StageEstimate("subset", "run", 0.9 / 3600, peak_memory_bytes=0)
    words = _line(subset, RunEstimate((subset,), held=2.0), "CPU-hours").split("  ")
    assert [word.strip() for word in words if word.strip()] == [
        "subset",
        "<1 s",
        "<1 CPU-second",
        "0.0 GB",
    ]


def test_sums_leave_out_what_is_not_known():
    stages = (
        StageEstimate("scorer", "run", 1.0),
        StageEstimate("subset", "reuse", 0.0),
        StageEstimate("search", "run", 0.25),
        StageEstimate("retrain", "run", 4.0, 3.0, 6.0),
        StageEstimate("robustness", "run", None),
    )
    run = RunEstimate(stages)
    assert (run.total, run.before_retraining, run.search_alone) == (5.25, 1.25, 0.25)
    assert (run.low, run.high) == (4.25, 7.25)
    assert run.not_estimated == ["robustness"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "search.epoch=3"], "search.epoch"),
        (["--set", "search.batch_size=512"], "search.batch_size"),
        (["--device", "tpu"], "--device: found 'tpu'"),
        (["--seconds", "0"], "--seconds: found 0"),
        (["--seconds", "nan"], "--seconds: found nan"),
    ],
)
def test_bad_input_is_refused_in_one_line(folder, capsys, arguments, expected):
    assert main(["estimate", "tiny.yaml", *arguments]) == 2
    refusal = capsys.readouterr().err
    assert expected in refusal
    assert refusal.count("\n") == 1


def test_memory_that_runs_out_is_told_as_a_run_would(folder, capsys, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(training, "try_training", fail)
    assert estimate() == 2
    assert "scorer: the machine ran out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(("waited", "beside"), [(0.5, "4 h"), (0.2, "2.5 h"), (0.1, None)])
def test_the_expected_time_says_its_clock_and_what_a_run_beside_other_programs_takes(
    waited, beside
):
    # Two cores are held: two CPU-hours are an hour. Stages below a second are left out.
    stages = [StageEstimate("subset", "run", 1e-4), StageEstimate("search", "run", 1.0)]
    retrain = StageEstimate("retrain", "run", 3.0, 2.0, 4.0)
    found = RunEstimate((*stages, retrain), waited, held=2.0)
    free = "expected: 2 h, at most 2.5 h (search 30 min, retrain 1.5 h) if no other program runs"
    more = f", about {beside} if others take as much as during the measuring"
    assert found.expected == free + (more if beside else "")
    assert found.is_busy == (beside is not None)
    assert f"for {waited:.0%} of the measuring, so the times are rough and" in found.caution
    assert replace(found, held=1.0).caution.endswith("times are rough")


def test_the_seconds_of_measuring_are_counted_over_all_parts(monkeypatch):
    now, shown = [100.0], []
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    count = Measuring(lambda *line: shown.append(line), 40.0)
    now[0] += 12
    count("search")
    now[0] += 8
    count.end(10)  # took 20 seconds, twice as long as planned, and so may the 30 that are left
    count("retrain")
    now[0] += 70
    count("retrain")
    assert shown == [(12, 40, "search"), (20, 80, "retrain"), (90, 90, "retrain")]
