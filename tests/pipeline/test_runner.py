"""The runner on stages of its own: numbers in files, so that every reuse and remake is visible."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from classification.errors import ArtifactError, ConfigError, InterruptedRunError
from pipeline.commands.status import stage_state
from pipeline.console import Console
from pipeline.graph import Stage, StageSettings
from pipeline.runner import Runner, Selection
from pipeline.store.store import Store


class Value(StageSettings):
    value: int


class Pipeline:
    """Three stages, first → second → third, that count how often they ran."""

    def __init__(self, root):
        self.root, self.ran, self.stop_in, self.fail_in = root, [], None, None
        self.values = {"first": 1, "second": 10, "third": 100}
        self.content = "images"
        self.shown = io.StringIO()
        needs = {"first": ("data",), "second": ("first",), "third": ("second",)}
        self.stages = {
            name: Stage(
                name,
                1,
                lambda config, name=name: needs[name],
                lambda config, name=name: Value(value=self.values[name]),
                lambda config, datasets, device: None,
                lambda context, name=name: self.work(name, context),
                goal="network" if name == "third" else None,
            )
            for name in needs
        }

    def work(self, name, context):
        self.ran.append(name)
        first, _ = context.workspace.resume()
        for epoch in range(first, 3):
            if self.stop_in == (name, epoch):
                raise KeyboardInterrupt
            if self.fail_in == (name, epoch):
                raise ZeroDivisionError
            self.ran.append((name, epoch))
            context.workspace.save(epoch + 1, {}, {"epoch": epoch})
            context.workspace.progress(epoch + 1, 3, "epoch")
        total = self.values[name] + sum(
            int((artifact.path / "total.txt").read_text()) for artifact in context.inputs.values()
        )
        context.workspace.path("total.txt").write_text(str(total))

    def runner(self):
        return Runner(
            self.stages,
            SimpleNamespace(name="run", goal="network"),
            {"data": SimpleNamespace(content_hash=self.content)},
            Store(self.root),
            torch.device("cpu"),
            Console(self.shown),
        )

    def run(self, **selection):
        self.ran.clear()
        artifacts = self.runner().run(Selection(**selection))
        return [entry for entry in self.ran if isinstance(entry, str)], artifacts

    def actions(self, **selection):
        return [step.action for step in self.runner().plan(Selection(**selection))]


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path)


def test_everything_runs_once_and_is_then_reused(pipeline):
    ran, artifacts = pipeline.run()
    assert ran == ["first", "second", "third"]
    assert (artifacts["third"].path / "total.txt").read_text() == "111"
    assert pipeline.run()[0] == []


def test_lines_say_which_stage_of_how_many_a_run_is_at_and_what_it_took(pipeline):
    pipeline.run(until="first")
    pipeline.shown.truncate(0)
    pipeline.run(until="second")  # the reused stage counts
    shown = pipeline.shown.getvalue()
    line = r"second   epoch 3/3  stage left 0 s  stage 2/2  \d+ s since the start  cpu"
    assert re.search(line, shown)
    assert re.search(r"second   done     \w+  \([\d.]+ s, <?[\d.]+ CPU-seconds\)", shown)


def test_a_changed_setting_remakes_what_follows_from_it(pipeline):
    pipeline.run()
    pipeline.values["second"] = 20
    ran, artifacts = pipeline.run()
    assert ran == ["second", "third"]
    assert (artifacts["third"].path / "total.txt").read_text() == "121"
    pipeline.values["second"] = 10
    assert pipeline.run()[0] == []


def test_changed_images_remake_everything(pipeline):
    pipeline.run()
    pipeline.content = "other images"
    assert pipeline.run()[0] == ["first", "second", "third"]


def test_a_stopped_stage_resumes_from_its_last_epoch_and_its_cost_is_booked(pipeline):
    pipeline.stop_in = ("second", 2)
    with pytest.raises(InterruptedRunError, match="interrupted in second at epoch 2 of 3"):
        pipeline.run()
    pipeline.stop_in = None
    assert pipeline.actions() == ["reuse", "resume", "run"]
    assert pipeline.run()[0] == ["second", "third"]
    assert [e for e in pipeline.ran if e[0] == "second"] == [("second", 2)]
    runner = pipeline.runner()
    attempts = runner.store.ledger.attempts([runner.keys["second"]])
    assert [attempt.outcome for attempt in attempts] == ["interrupted", "done"]


def test_a_failed_attempt_is_booked_and_the_error_passes_on(pipeline):
    pipeline.fail_in = ("first", 1)
    with pytest.raises(ZeroDivisionError):
        pipeline.run()
    (attempt,) = pipeline.runner().store.ledger.attempts()
    assert attempt.outcome == "failed"


def test_until_stops_after_a_stage(pipeline):
    assert pipeline.run(until="second")[0] == ["first", "second"]


def test_only_runs_one_stage_from_what_stands(pipeline):
    with pytest.raises(ArtifactError, match="first is needed"):
        pipeline.run(only="second")
    pipeline.run(until="first")
    assert pipeline.run(only="second")[0] == ["second"]


def test_a_forced_stage_runs_again_and_equal_results_spare_the_rest(pipeline):
    pipeline.run()
    assert pipeline.run(force="first")[0] == ["first"]


def test_a_forced_stage_that_was_stopped_goes_on_when_it_is_forced_again(pipeline):
    pipeline.run()
    pipeline.stop_in = ("first", 2)
    with pytest.raises(InterruptedRunError):
        pipeline.run(force="first")
    pipeline.stop_in = None
    pipeline.run(force="first")
    assert [entry for entry in pipeline.ran if entry[0] == "first"] == [("first", 2)]
    pipeline.run(force="first")
    assert len([entry for entry in pipeline.ran if entry[0] == "first"]) == 3


def test_what_was_begun_without_force_is_begun_anew_with_it(pipeline):
    pipeline.stop_in = ("first", 2)
    with pytest.raises(InterruptedRunError):
        pipeline.run()
    pipeline.stop_in = None
    pipeline.run(force="first")
    assert len([entry for entry in pipeline.ran if entry[0] == "first"]) == 3


def test_a_forced_stage_with_another_result_remakes_the_rest(pipeline):
    pipeline.run()
    honest = pipeline.stages["first"].run

    def different(context):
        honest(context)
        context.workspace.path("total.txt").write_text("5")

    pipeline.stages["first"] = replace(pipeline.stages["first"], run=different)
    ran, artifacts = pipeline.run(force="first")
    assert ran == ["first", "second", "third"]
    assert (artifacts["third"].path / "total.txt").read_text() == "115"


def test_a_damaged_artifact_is_named_and_remade(pipeline):
    _, artifacts = pipeline.run()
    (artifacts["second"].path / "total.txt").write_text("12")
    assert pipeline.actions() == ["reuse", "run", "run"]
    assert pipeline.run()[0] == ["second"]


def test_a_new_version_of_a_stage_remakes_it(pipeline):
    pipeline.run()
    third = pipeline.stages["third"]
    pipeline.stages["third"] = replace(third, version=2)
    assert pipeline.run()[0] == ["third"]


def test_a_dry_run_starts_nothing(pipeline):
    assert pipeline.actions() == ["run", "run", "run"]
    assert not pipeline.ran
    assert not list(pipeline.root.iterdir())


@pytest.mark.parametrize("option", ["until", "only", "force"])
def test_an_unknown_stage_is_refused(pipeline, option):
    with pytest.raises(ConfigError, match=rf"--{option}: found 'serach'; .* first, second, third"):
        pipeline.run(**{option: "serach"})


def test_status_tells_where_a_stage_stands(pipeline):
    pipeline.stop_in = ("second", 1)
    with pytest.raises(InterruptedRunError):
        pipeline.run()
    runner = pipeline.runner()
    states = [stage_state(runner.store, n, runner.keys[n], "run").state for n in runner.order]
    assert states == ["done", "interrupted at epoch 1 of 3", "pending"]
    other = stage_state(runner.store, "first", runner.keys["first"], "another run")
    assert other.state == "reused from run run"
