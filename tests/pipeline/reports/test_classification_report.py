"""A classifier run from end to end, and what its report says."""

import json
import shlex
from dataclasses import replace

import pytest
from PIL import Image

from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.persistence.workspace import read_metrics
from evaluate.published import error_rates
from pipeline.reports import classification
from pipeline.reports.classification import describe_augmentation, describe_optimizer
from run_pipeline import main

TINY = """
name: tiny
goal: classifier
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:
  {model: resnet8, epochs: 2, batch_size: 16, label_smoothing: 0.1, mixing: {num_images: 3}}
search:  {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 32}
subset:  {fraction: 0.5}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder in which the tiny run has ended; its report before and after its twin's run."""
    return Finished(tmp_path_factory.mktemp("classifier"))


class Finished:
    def __init__(self, folder):
        self.folder, self.config = folder, str(folder / "tiny.yaml")
        self.places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
        (folder / "tiny.yaml").write_text(TINY)
        assert self.run() == 0
        self.before = self.report()
        self.commands = [
            line.strip() for line in self.before.splitlines() if "    python run" in line
        ]
        for command in self.commands:
            assert main(shlex.split(command)[2:]) == 0
        self.after = self.report()

    def run(self, *arguments):
        return main(["run", self.config, *arguments, *self.places, "--device", "cpu"])

    def other(self, name, *arguments):
        return main([name, *arguments, "--runs", str(self.folder / "runs")])

    def report(self, name="tiny"):
        return (self.folder / "runs" / name / "report" / "report.md").read_text()

    def results(self, name="tiny"):
        path = self.folder / "runs" / name / "report" / "results.json"
        return json.loads(path.read_text())

    def attempts(self):
        lines = (self.folder / "artifacts" / "ledger.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def test_the_report_states_the_training_and_its_errors(finished):
    results, text = finished.results(), " ".join(finished.after.split())
    (scorer,) = (finished.folder / "artifacts" / "scorer").glob(
        json.loads((finished.folder / "runs/tiny/manifest.json").read_text())["stages"]["scorer"]
    )
    rows = read_metrics(scorer)
    errors = [100 * (1 - row["test_accuracy"]) for row in rows]
    assert len(errors) == 2
    assert results["accuracy"]["top1_error_last"] == pytest.approx(errors[-1], abs=1e-3)
    assert results["accuracy"]["top1_error_best"] == pytest.approx(min(errors), abs=1e-3)
    for stated in (
        f"top-1 error **{errors[-1]:.2f} %** after the last of 2 epochs",
        f"{min(errors):.2f} % (lowest test error: optimistic, not used for selection)",
        "| model | resnet8 |",
        "| parameters | 74,835 |",
        "digits: 72 training and 106 test images of 3 classes, 8×8",
        "with **DCutMix, K = 3, α = 0.333** and **label smoothing 0.1**",
        "| augmentation | random crop, padding 1 |",
        "| budget | 2 epochs in batches of 16 |",
        "learning rate 0.25 divided by ten after epoch 1, momentum 0.9 (Nesterov)",
        "The paper has no row for resnet8 on this data.",
        f"| device | {results['device']} |",
        "`python -m benchmarks.mixing --models resnet8`",
    ):
        assert stated in text, stated
    assert results["goal"] == "classifier"
    assert results["parameters"] == 74_835
    assert results["published"] is None


def test_the_report_has_the_curve_and_nothing_of_a_search(finished):
    report = finished.folder / "runs" / "tiny" / "report"
    assert {path.name for path in report.iterdir()} == {
        *("report.html", "report.md", "results.json", "record.json"),
        *("training.pdf", "training.png", "confusion.pdf", "confusion.png"),
    }
    assert "(training.png)" in finished.after
    assert "subset" not in finished.after.lower()


def test_its_cost_is_every_attempt_at_the_scorer(finished):
    key = json.loads((finished.folder / "runs/tiny/manifest.json").read_text())["stages"]["scorer"]
    attempts = [a for a in finished.attempts() if a["fingerprint"] == key]
    core_seconds = sum(a["seconds"] * a["threads"] for a in attempts)
    cost = finished.results()["cost"]
    assert cost["scorer"] == pytest.approx(core_seconds / 3600, abs=1e-7)
    assert (cost["unit"], cost["attempts"]) == ("CPU-hours", 1)


def test_without_its_twin_the_time_is_not_known_and_the_report_says_how_to_know_it(finished):
    assert "Training time relative to vanilla: unknown (the store has no" in finished.before
    train, report = finished.commands
    assert "--set 'scorer.mixing={kind: none}' --set scorer.label_smoothing=0" in train
    assert "--name tiny-vanilla" in train
    assert shlex.split(report)[2:4] == ["report", "tiny"]


def test_the_printed_commands_measure_it(finished):
    stage, twin = (attempt["seconds"] for attempt in finished.attempts()[:2])
    time = finished.results()["training_time"]
    assert time["relative_to_vanilla"] == pytest.approx(stage / twin, abs=1e-4)
    assert time["seconds_per_epoch"] == pytest.approx(stage / 2, abs=1e-3)
    assert f"Training time relative to vanilla: **{stage / twin:.2f}**." in finished.after
    assert "To measure it" not in finished.after


def test_the_vanilla_run_is_the_unit(finished):
    assert finished.results("tiny-vanilla")["training_time"]["relative_to_vanilla"] == 1.0
    assert "**1.00** (this is the vanilla run)" in finished.report("tiny-vanilla")
    assert "**no mixing**;" in finished.report("tiny-vanilla")


def test_both_stand_in_one_table(finished, capsys):
    assert finished.other("table", "tiny-vanilla", "tiny") == 0
    shown = capsys.readouterr().out
    ratio = finished.results()["training_time"]["relative_to_vanilla"]
    assert f"| {ratio:.2f} |" in shown
    assert "| resnet8 | no mixing | 1 |" in shown
    assert "digits: 72 training" in shown


def test_a_network_with_the_same_scorer_reuses_it(finished, capsys):
    arguments = ["--set", "goal=network", "--name", "network"]
    assert finished.run(*arguments, "--until", "scorer") == 0
    assert "scorer   reused" in capsys.readouterr().out
    assert finished.run(*arguments, "--dry-run") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()][:2] == [
        ["scorer", "reuse"], ["scores", "run"],
    ]  # fmt: skip


def test_status_and_dry_run_know_of_the_scorer_alone(finished, capsys):
    assert finished.other("status", "tiny") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("scorer", "report", "cost"),
    ]
    assert finished.run("--dry-run") == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_another_seed_reports_by_itself_where_it_was_reused(finished):
    assert finished.run("--name", "same") == 0
    assert "reused from tiny" in finished.report("same")


def test_neither_target_nor_subset_nor_search_is_looked_at(finished):
    nonsense = [
        "target={kind: folder, root: nowhere}", "subset.fraction=0.001", "search.batch_size=512",
    ]  # fmt: skip
    overrides = [word for value in nonsense for word in ("--set", value)]
    assert finished.run("--name", "unchecked", *overrides) == 0


def test_large_images_stay_in_their_files(finished, tmp_path):
    for split in ("train", "val"):
        for value, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(8):
                image = Image.new("RGB", (40 + index, 36), (200 * value, 30 * index, 60))
                image.save(tmp_path / split / name / f"{index}.jpeg")
    data = f"{{kind: folder, root: {tmp_path}, image_size: 32, storage: files, workers: 0}}"
    overrides = ["--set", f"data={data}", "--set", "data.lighting=0.1", "--name", "files"]
    assert finished.run(*overrides) == 0
    assert "random resized crop, mirroring, colour jitter, lighting 0.1" in finished.report("files")


def test_the_published_rows_of_its_table_stand_beside_it(finished, monkeypatch):
    """As if the paper had a table of this network on this data."""
    table = error_rates.TABLE_2[0]
    setting = replace(table.rows[1].setting, mixing=table.rows[-1].setting.mixing)
    vanilla = replace(table.rows[0], top5_error=None)
    rows = (vanilla, replace(table.rows[1], setting=setting))
    small = replace(table, model="resnet8", rows=rows, note="A note.")
    monkeypatch.setattr(error_rates, "PUBLISHED_TABLES", (small,))
    monkeypatch.setattr(classification, "published_dataset", lambda *_: "cifar100")
    assert finished.other("report", "tiny-vanilla") == 0
    text = finished.report("tiny-vanilla")
    words = " ".join(text.split())
    assert "The paper's Table 2: PreActResNet18 on cifar100. All rows except the last" in words
    assert "**published figures**, not measured here, after 300 epochs. This" in words
    assert "A note. The paper does not state whether" in words
    error = finished.results("tiny-vanilla")["accuracy"]["top1_error_last"]
    assert text.split("| --- | ---: | ---: |\n")[1].strip().splitlines() == [
        "| Vanilla (published, this setting) | 23.59 | 1.00 |",
        "| Mixup (published) | 22.43 | 1.04 |",
        f"| **this run: no mixing** | {error:.2f} | 1.00 |",
    ]
    assert finished.results("tiny-vanilla")["published"]["top1_error"] == 23.59


def test_augmentation_is_put_into_words():
    config = DataConfig(kind="digits", image_size=32, crop_padding=0)
    assert describe_augmentation(config, load_dataset(config)) == "none"
    config = DataConfig(kind="digits", image_size=32, flip=True)
    assert (
        describe_augmentation(config, load_dataset(config)) == "random crop, padding 4, mirroring"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "0.25 divided by ten after epoch 150 and 225, momentum 0.9 (Nesterov), weight decay"),
        ({"schedule": "cosine"}, "0.25 with cosine decay"),
        ({"schedule": "one_cycle", "momentum": 0}, "0.25 at the peak of one cycle, momentum 0, "),
        ({"milestones": ()}, "0.25 (constant)"),
    ],
)
def test_the_optimizer_is_put_into_words(settings, words):
    assert f"SGD, learning rate {words}" in describe_optimizer(ClassifierConfig(**settings))
