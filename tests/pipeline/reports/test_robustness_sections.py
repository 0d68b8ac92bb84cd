"""What reports show of attacks and landscapes, and that their cost is reported separately."""

import json

import pytest

from classification.data.config import DataConfig
from pipeline.config import load_config
from pipeline.reports.page import fill_template
from pipeline.reports.robustness_sections import (
    collect_sections,
    goal_artifacts,
    show_sections,
)
from pipeline.store.ledger import Attempt
from pipeline.store.store import Store
from run_pipeline import main

ROBUSTNESS = {
    "of": "scorer",
    "architecture": "resnet8",
    "images": 1000,
    "clean": {"accuracy": 0.6, "correct": 600, "images": 1000},
    "attacks": [
        {
            "kind": "white-box",
            "architecture": "resnet8",
            "attack": "pgd",
            "curve": [{"epsilon": 8 / 255, "accuracy": 0.04, "correct": 40, "images": 1000}],
        }
    ],
    "shift": {
        "imagenet_a": {"top1_accuracy": 0.033, "correct": 33, "images": 1000},
        "imagenet_o": {"aupr": 0.5, "images": 25, "known_images": 75},
    },
}
LANDSCAPE = {
    "of": "scorer",
    "architecture": "resnet8",
    "images": 90,
    "split": "test",
    "batch_norm": "eval mode",
    "trained": {"loss": 2.0, "accuracy": 0.5},
    "line": {"alphas": [-1.0, 0.0, 1.0], "losses": [6.0, 2.0, 4.0], "accuracies": [0.1, 0.5, 0.1]},
    "noise": {
        "scale": "filter",
        "draws": 2,
        "sigmas": [0.1, 0.5],
        "loss_means": [2.25, None],
        "loss_deviations": [0.5, None],
        "accuracy_means": [0.4, 0.1],
        "accuracy_deviations": [0.1, 0.0],
    },
    "plane": None,
    "hessian": {"eigenvalues": [4.0, 1.5], "trace": 9.0, "trace_error": 0.5},
}
SETTINGS = {"robustness": {"step": 2 / 255, "steps": 10, "restarts": 1}, "landscape": {}}
TINY = """
name: tiny
goal: subset
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 1, batch_size: 16, mixing: {kind: none}}
subset:  {measure: random, fraction: 0.5}
robustness: {attacks: [fgsm], epsilons: [8/255], images: 8}
"""


@pytest.fixture
def store(tmp_path):
    """With a scorer, made in an hour on a CPU, and robustness and landscape, on two GPUs."""
    store = Store(tmp_path / "artifacts")
    contents = {"scorer": {}, "robustness": ROBUSTNESS, "landscape": LANDSCAPE}
    store.made = {}
    for stage, content in contents.items():
        work = store.workspace(stage, "key")
        work.mkdir(parents=True)
        (work / f"{stage}.json").write_text(json.dumps(content))
        key = f"{stage}-key"
        work.rename(store.workspace(stage, key))
        store.made[stage] = store.publish(stage, key, {"settings": SETTINGS, "inputs": {}})
        kind, devices = ("cpu", 1) if stage == "scorer" else ("gpu", 2)
        for began, outcome in (("first", "interrupted"), ("then", "done")):
            attempt = Attempt(stage, key, "run", began, 1800.0, f"a {kind}", kind, devices, outcome)
            store.ledger.append(attempt)
    return store


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    return load_config(tmp_path / "tiny.yaml", ["landscape={}", "goal=classifier"], "run")


def test_the_goal_is_told_apart_from_what_was_asked_beside_it(store, config):
    goal = goal_artifacts(config, store.made)
    assert list(goal) == ["scorer"]
    assert collect_sections(goal, store) == {}
    assert show_sections(store.root, config, goal, store, {}) == {
        "cost_rows": [],
        "sections": [],
        "links": [],
    }


def test_results_hold_the_numbers_and_what_all_attempts_at_them_cost(store):
    found = collect_sections(store.made, store)
    assert list(found) == ["robustness", "landscape"]
    for section in found.values():
        assert section["cost"] == {"unit": "GPU-hours", "hours": 2.0, "attempts": 2}
        assert section["device"] == "a gpu"
    assert found["robustness"]["clean"]["accuracy"] == 0.6
    assert (found["robustness"]["steps"], found["robustness"]["restarts"]) == (10, 1)
    assert found["landscape"]["half_width"] == 0.375  # of 1/4 and 1/2
    assert found["landscape"]["noise"] == {"sigmas": [0.1, 0.5], "rises": [0.25, None]}


def test_a_report_shows_each_with_its_pictures_and_a_cost_in_its_own_unit(store, config, tmp_path):
    results = {"cost": {"unit": "CPU-hours"}} | collect_sections(store.made, store)
    shown = show_sections(tmp_path, config, store.made, store, results)
    assert shown["cost_rows"] == [
        {
            "stage": stage,
            "cost": "2 GPU-hours",
            "wall": "1 h",
            "attempts": 2,
            "note": "not part of the totals",
        }
        for stage in ("robustness", "landscape")
    ]
    text = fill_template("robustness_sections.md.j2", {"robustness_sections": shown})
    robustness, landscape = text.split("## Loss landscape\n")
    assert robustness.startswith("\n## Robustness\n")
    for line in (
        "| PGD-10, white-box | 60.00 | 4.00 |",
        "| ImageNet-A, top-1 accuracy (%) | 3.30 | – |",
        "| ImageNet-O, AUPR (%) | 50.00 | 25.00 |",
        "![Robustness: robustness](robustness.png)",
        "Cost: 2 GPU-hours, not part of the totals above.",
    ):
        assert line in robustness
    for line in (
        "| α at which the loss has risen by 1 nat | 0.375 |",
        "| rise of the loss under noise of σ = 0.1 | 0.250 nats |",
        "| rise of the loss under noise of σ = 0.5 | not finite |",
        "| top eigenvalues of the Hessian | 4, 1.5 |",
        "| trace of the Hessian | 9 ± 0.5 (standard error) |",
    ):
        assert line in landscape
    for name in ("robustness", "landscape-line", "landscape-noise"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("of", ["scorer", "network"])
def test_the_images_are_named_as_those_of_the_classifier(store, config, tmp_path, of, monkeypatch):
    folder = {"kind": "folder", "root": tmp_path}
    held_out = DataConfig(**folder, hold_out=0.5)
    of_val = DataConfig(**folder, image_size=8)
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
    images = {"data": held_out, "target": of_val}
    config = config.model_copy(update=images)
    results = collect_sections(store.made, store)
    for section in results.values():
        section["of"] = of
    captions = []
    monkeypatch.setattr(
        "pipeline.reports.robustness_sections.landscape_figures",
        lambda found, evaluated: captions.append(evaluated) or {},
    )
    shown = show_sections(tmp_path, config, store.made, store, results)["sections"]
    name = "held-out" if of == "scorer" else "val"
    assert f", on 1,000 {name} images. PGD" in shown[0].text
    assert f", on 90 {name} images; BatchNorm" in shown[1].text
    assert captions == [name]
    results["landscape"]["split"] = "train"
    shown = show_sections(tmp_path, config, store.made, store, results)["sections"]
    assert ", on 90 train images; BatchNorm" in shown[1].text


def test_what_serves_an_extra_alone_is_no_cost_of_the_subset(tmp_path):
    pytest.importorskip("art", reason="the robustness extra is not installed")
    (tmp_path / "tiny.yaml").write_text(TINY)
    places = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    assert main(["run", str(tmp_path / "tiny.yaml"), *places, "--device", "cpu"]) == 0
    report = tmp_path / "runs/tiny/report"
    results = json.loads((report / "results.json").read_text())
    text = (report / "report.md").read_text()
    # The scorer was trained to be attacked; the random subset did not need one.
    assert set(results["cost"]["stages"]) == {"subset", "probe"}
    assert text.count("| not part of the totals") == 2
    assert results["cost"]["total"] == pytest.approx(
        sum(results["cost"]["stages"].values()), abs=1e-7
    )
    assert results["robustness"]["images"] == 8
    assert "## Robustness" in text
    assert "## Loss landscape" not in text
    page = (report / "report.html").read_text()
    assert '<section id="robustness">' in page
    assert '<desc id="robustness-description">' in page
    assert page.count("<td>not part of the totals") == 2
    for figure in report.glob("*.png"):
        assert f"({figure.name})" in text
