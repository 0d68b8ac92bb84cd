"""A run that asks what a subset is worth by itself."""

import json

import pytest
import torch

from classification import classifier
from classification.classifier import train_classifier
from classification.data.datasets import DataConfig, load_dataset
from classification.persistence.workspace import Workspace
from classification.seeds import derive_seed
from pipeline.config import load_config
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.stages import STAGES
from run_pipeline import main
from tests.tiny import Place

DATA = {"kind": "digits", "classes": 3, "images_per_class": 24}
TINY = """
name: tiny
goal: subset
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 1, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 4}
subset:  {measure: cv, fraction: 0.5}
probe:   {model: resnet8, epochs: 3, batch_size: 12, learning_rate: 0.1, mixing: {kind: none}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("subset"), TINY)
    assert place.run() == 0
    return place


def keys(path, *overrides):
    return fingerprints(STAGES, load_config(path, overrides), {"data": "images"})


def test_the_probe_sees_the_subset_alone_under_the_normalization_of_all_images(finished, tmp_path):
    """By hand: the classifier trained on those 36 images ends with the same metrics."""
    indices = json.loads((finished.artifact("subset") / "subset.json").read_text())["indices"]
    assert len(indices) == 36
    whole = load_dataset(DataConfig(**DATA))
    part = whole.with_train(indices)
    assert len(part.train) == 36
    assert part.normalization == whole.normalization
    assert torch.equal(part.train.images, whole.train.images[indices])
    config = load_config(finished.folder / "tiny.yaml")
    workspace, device = Workspace(tmp_path), torch.device("cpu")
    train_classifier(part, config.probe, seed=0, device=device, workspace=workspace)
    metrics = (finished.artifact("probe") / "metrics.jsonl").read_bytes()
    assert metrics == (tmp_path / "metrics.jsonl").read_bytes()


def test_the_artifact_holds_figures_and_no_weights(finished):
    files = {path.name for path in finished.artifact("probe").iterdir()}
    assert files == {"probe.json", "confusion.json", "metrics.jsonl", "artifact.json"}
    summary = json.loads((finished.artifact("probe") / "probe.json").read_text())
    assert summary["images"] == 36
    assert summary["accuracy"] == finished.results()["accuracy"]


def test_the_results_say_what_it_reached_and_what_it_cost(finished):
    results = finished.results()
    assert set(results) == {
        *("goal", "name", "device", "software", "seed", "subset", "probe", "accuracy", "cost"),
        *("checksum", "classes", "start_up", "whole_run"),
    }
    assert (results["goal"], results["subset"]["size"]) == ("subset", 36)
    assert results["classes"]["training_images"] == [12, 12, 12]
    assert set(results["subset"]) == {
        "measure",
        "order",
        "fraction",
        "size",
        "reliability",
        "class_histogram",
    }
    assert (results["probe"]["model"], results["probe"]["epochs"]) == ("resnet8", 3)
    cost, stages = results["cost"], results["cost"]["stages"]
    assert set(stages) == {"scorer", "scores", "subset", "probe"}
    selection = stages["scorer"] + stages["scores"] + stages["subset"]
    assert cost["selection"] == pytest.approx(selection, abs=1e-7)
    assert cost["probe"] == stages["probe"]
    assert cost["total"] == pytest.approx(selection + stages["probe"], abs=1e-7)


def test_the_report_states_them_and_shows_its_figures(finished):
    text, error = finished.report(), finished.results()["accuracy"]["top1_error_last"]
    assert (
        "resnet8 trained on **36 of 72 images** (high-CV, the fraction t = 0.5 of each class)"
        in text
    )
    assert f"top-1 error **{error:.2f} %** after the last of 3 epochs" in text
    assert "| normalization | of all 72 training images, not of the subset |" in text
    assert "**scorer + scores + subset**" in text
    pictures = {path.name for path in (finished.folder / "runs/tiny/report").glob("*.png")}
    assert pictures == {
        "confusion.png",
        "training.png",
        "cost.png",
        "gallery.png",
        "cv.png",
        "visibility.png",
    }
    assert all(f"({picture})" in text for picture in pictures)


def test_a_random_subset_and_all_images_need_no_scorer(finished):
    for measure, size in (("random", 36), ("full", 72)):
        assert finished.run(f"subset.measure={measure}", name=measure) == 0
        results = finished.results(measure)
        assert results["subset"]["size"] == size
        assert set(results["cost"]["stages"]) == {"subset", "probe"}
        assert "gallery" not in finished.report(measure)


def test_a_second_run_reuses_the_first_and_its_report_is_written_again(finished, capsys):
    before = finished.report()
    assert finished.run() == 0
    assert capsys.readouterr().out.count("reused") == 4
    assert main(["report", "tiny", "--runs", str(finished.folder / "runs")]) == 0
    # The start-up of the second run is added to its row of the cost table.
    old, new = (
        [
            line
            for line in text.splitlines()
            if "CPU-seconds | " not in line or "mages |" not in line
        ]
        for text in (before, finished.report())
    )
    assert new == old


THREE = ("probes=3", "subset.measure=random")


@pytest.fixture(scope="module")
def three(finished):
    """The same store, with three probes of a random subset."""
    assert finished.run(*THREE, name="three") == 0
    return finished.artifact("probe", "three")


def test_several_probes_differ_in_their_seed_and_the_error_is_their_mean(finished, three, tmp_path):
    indices = json.loads((finished.artifact("subset", "three") / "subset.json").read_text())
    part = load_dataset(DataConfig(**DATA)).with_train(indices["indices"])
    config, device = load_config(finished.folder / "tiny.yaml").probe, torch.device("cpu")
    rows = []
    for number, seed in enumerate((0, derive_seed(0, "probe", 1), derive_seed(0, "probe", 2))):
        workspace = Workspace(tmp_path / str(number))
        train_classifier(part, config, seed=seed, device=device, workspace=workspace)
        rows.append(workspace.rows())
    errors = [100 * (1 - each[-1]["test_accuracy"]) for each in rows]
    assert len(set(errors)) > 1
    accuracy = json.loads((three / "probe.json").read_text())["accuracy"]
    assert accuracy["top1_errors_last"] == pytest.approx(errors, abs=1e-3)
    assert accuracy["top1_error_last"] == pytest.approx(sum(errors) / 3, abs=1e-3)
    metrics = [json.loads(line) for line in (three / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in metrics] == [row["epoch"] for row in rows[0]]
    losses = [sum(each[1]["loss"] for each in rows) / 3]
    assert [metrics[1]["loss"]] == pytest.approx(losses)
    counts = json.loads((three / "confusion.json").read_text())
    assert sum(map(sum, counts)) == 3 * len(part.test)
    assert sum(finished.results("three")["classes"]["test_images"]) == len(part.test)
    assert "epochs, the mean of 3 probes (" in finished.report("three")


@pytest.mark.parametrize("several", [False, True])
def test_a_stopped_probe_ends_bit_for_bit(several, finished, three, tmp_path, monkeypatch):
    honest, trained = classifier.train_classifier, []

    def stopping(dataset, config, *, workspace, **named):
        if config.epochs == 1:  # the scorer
            return honest(dataset, config, workspace=workspace, **named)
        inner, last = workspace.progress, len(trained) == (1 if several else 0)
        trained.append(named["seed"])

        def progress(done, total, unit, **metrics):
            inner(done, total, unit, **metrics)
            if last and unit == "epoch" and done % 3 == 2:
                raise KeyboardInterrupt

        stopped = Workspace(workspace.directory, progress)
        return honest(dataset, config, workspace=stopped, **named)

    place, overrides = Place(tmp_path, TINY), THREE if several else ()
    monkeypatch.setattr(classifier, "train_classifier", stopping)
    assert place.run(*overrides) == 130
    assert len(trained) == (2 if several else 1)
    monkeypatch.setattr(classifier, "train_classifier", honest)
    assert place.run(*overrides) == 0
    straight = three if several else finished.artifact("probe")
    files = {path.name for path in place.artifact("probe").iterdir()}
    assert files == {path.name for path in straight.iterdir()}
    for name in ("probe.json", "metrics.jsonl", "confusion.json"):
        assert (place.artifact("probe") / name).read_bytes() == (straight / name).read_bytes()


def test_without_a_probe_the_scorers_training_is_the_probes(tmp_path):
    text = "\n".join(line for line in TINY.splitlines() if not line.startswith("probe"))
    (tmp_path / "silent.yaml").write_text(text)
    (tmp_path / "tiny.yaml").write_text(TINY)
    config = load_config(tmp_path / "silent.yaml")
    assert config.probed == config.scorer
    silent = keys(tmp_path / "silent.yaml")
    assert silent == keys(tmp_path / "tiny.yaml", f"probe={config.scorer.model_dump_json()}")


def test_a_probe_records_nothing_where_the_scorer_does(finished):
    config = load_config(finished.folder / "tiny.yaml", ["probe=null", "scorer.record_losses=true"])
    assert config.scorer.record_losses
    assert not config.probed.record_losses


def test_only_the_probe_follows_from_its_settings(finished):
    path = finished.folder / "tiny.yaml"
    before, after = keys(path), keys(path, "probe.epochs=4")
    assert [stage for stage in before if before[stage] != after[stage]] == ["probe"]
    assert keys(path, "probe.cuda_graph=off") == before


def test_the_stages_of_other_goals_are_named_as_before(finished):
    path = finished.folder / "tiny.yaml"
    classifier = keys(path, "goal=classifier")
    assert classifier == {"scorer": keys(path)["scorer"]}
    graph = build_graph(STAGES, load_config(path))
    assert stage_order(graph, STAGES) == ["scorer", "scores", "subset", "probe"]


def test_a_run_that_did_not_search_is_no_point_of_a_plot(finished, capsys):
    picture = finished.folder / "no.png"
    runs = ["--runs", str(finished.folder / "runs")]
    assert main(["plot", "tiny", "-o", str(picture), *runs]) == 2
    expected = "RUN: tiny trained a classifier on its subset and has no search; allowed: "
    assert expected in capsys.readouterr().err
    assert main(["table", "tiny", *runs]) == 2
    assert "the goal of tiny is not a classifier" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["probe.batch_size=37"], "probe.batch_size: 37 exceeds the 36 images that the subset"),
        (["probe=null", "subset.fraction=0.2"], "probe.batch_size: 16 (scorer.batch_size, because"),
        (["probe.weights=w.pt"], "probe.weights: found 'w.pt'"),
        (["probe=null", "subset.measure=full", "scorer.weights=w.pt"], "probe: missing"),
        (["probe=null", "subset.measure=full", "scorer={model: supernet}"], "probe: missing"),
        (["probe={model: supernet}"], "probe.model: found 'supernet'"),
        (["probe.record_losses=true"], "probe.record_losses: found true"),
        (["probe.precision=bf16"], "probe.precision: found 'bf16' on a cpu"),
        (["probe.model=vgg"], "probe.model: found 'vgg'"),
        (["probe.epoch=3"], "probe.epoch: unknown key; did you mean epochs?"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, overrides, expected):
    assert Place(tmp_path, TINY).run(*overrides) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()
