"""A run that attacks the classifier it trained."""

import json
import shutil

import pytest
import torch

from classification import extras
from classification.data.datasets import load_dataset
from classification.models.input_statistics import InputStatistics, statistics_beside
from evaluate.robustness import measure
from pipeline.config import load_config
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.stages import STAGES
from run_pipeline import main
from tests.tiny import Place

pytest.importorskip("art", reason="the robustness extra is not installed")

TINY = """
name: tiny
goal: classifier
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 3, batch_size: 12, learning_rate: 0.1, mixing: {kind: none}}
robustness: {epsilons: [8/255, 16/255], steps: 3, images: 40, batch_size: 16}
"""
HALF = "{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}"


def result_of(place, name="tiny"):
    return json.loads((place.artifact("robustness", name) / "robustness.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with a substitute of another seed, one of another architecture, and other images."""
    place = Place(tmp_path_factory.mktemp("robustness"), TINY)
    assert place.run("seed=1", "robustness=null", name="other-seed") == 0
    weights = place.artifact("scorer", "other-seed") / "scorer.safetensors"
    # resnet20 untrained would do as well; a run of one epoch gives it a manifest, too.
    assert (
        place.run("scorer.model=resnet20", "scorer.epochs=1", "robustness=null", name="deep") == 0
    )
    deep = place.artifact("scorer", "deep") / "scorer.safetensors"
    place.substitutes = (
        f"robustness.substitutes=[{{weights: {weights}}}, {{model: resnet20, weights: {deep}}}]"
    )
    place.weights = weights
    (folder := place.folder / "others").mkdir()
    place.others = folder
    assert place.run(place.substitutes) == 0
    return place


def keys(path, *overrides):
    content = {"data": "images", "target": "images"}
    return fingerprints(STAGES, load_config(path, overrides), content)


def test_the_result_says_who_attacked_whom_and_with_how_many_images(finished):
    result = result_of(finished)
    assert (result["of"], result["architecture"], result["images"]) == ("scorer", "resnet8", 40)
    assert [(each["kind"], each["architecture"], each["attack"]) for each in result["attacks"]] == [
        (kind, model, attack)
        for kind, model in (
            ("white-box", "resnet8"),
            ("gray-box", "resnet8"),
            ("black-box", "resnet20"),
        )
        for attack in ("fgsm", "pgd")
    ]
    for each in result["attacks"]:
        assert [point["epsilon"] for point in each["curve"]] == [8 / 255, 16 / 255]
        for point in each["curve"]:
            assert point["accuracy"] == point["correct"] / point["images"]
            assert point["images"] == 40
    white, gray = result["attacks"][1]["curve"], result["attacks"][3]["curve"]
    assert white[1]["correct"] <= gray[1]["correct"]
    files = {path.name for path in finished.artifact("robustness").iterdir()}
    assert files == {"robustness.json", "robustness.png", "metrics.jsonl", "artifact.json"}


def test_a_second_run_reuses_it_and_says_which_attacks_they_were(finished, capsys):
    assert finished.run(finished.substitutes) == 0
    assert capsys.readouterr().out.count("reused") == 2
    log = (finished.folder / "runs/tiny/log.txt").read_text()
    assert "gray-box: adversarial images from" in log
    assert "black-box: adversarial images from" in log


def test_compare_sets_the_runs_numbers_beside_the_papers(finished, tmp_path, capsys):
    runs = ["--runs", str(finished.folder / "runs")]
    out = tmp_path / "compared"
    assert main(["compare", "tiny", "--stage", "robustness", "-o", str(out), *runs]) == 0
    page = (out / "table5.md").read_text()
    assert page in capsys.readouterr().out
    for each in result_of(finished)["attacks"]:
        for point in each["curve"]:
            assert f" {100 * point['accuracy']:.2f} |" in page
    headings = [line for line in page.splitlines() if line.startswith("## Measured here: ")]
    assert [heading.removeprefix("## Measured here: ") for heading in headings] == [
        "white-box",
        "gray-box from resnet8",
        "black-box from resnet20",
    ]
    assert {path.name for path in out.iterdir()} == {
        "table5.md",
        "robustness.png",
        "comparison.json",
    }
    elsewhere = str(tmp_path / "elsewhere")
    assert main(["compare", "deep", "--stage", "robustness", "-o", elsewhere, *runs]) == 2
    assert "has no robustness yet; run: python run_pipeline.py run" in capsys.readouterr().err


def test_a_stopped_stage_ends_bit_for_bit(finished, tmp_path, monkeypatch):
    honest = measure.measure_robustness

    def stopping(*arguments, workspace, **named):
        inner = workspace.progress

        def progress(done, total, unit, **metrics):
            inner(done, total, unit, **metrics)
            if done == 32:
                raise KeyboardInterrupt

        workspace.progress = progress
        return honest(*arguments, workspace=workspace, **named)

    place = Place(tmp_path, TINY)
    shutil.copytree(finished.folder / "artifacts/scorer", tmp_path / "artifacts/scorer")
    monkeypatch.setattr(measure, "measure_robustness", stopping)
    assert place.run(finished.substitutes) == 130
    monkeypatch.setattr(measure, "measure_robustness", honest)
    assert place.run(finished.substitutes) == 0
    for name in ("robustness.json", "robustness.png", "metrics.jsonl"):
        resumed, straight = (each.artifact("robustness") / name for each in (place, finished))
        assert resumed.read_bytes() == straight.read_bytes()


def test_the_network_is_attacked_where_that_is_the_goal(tmp_path):
    text = TINY.replace("goal: classifier", "goal: network") + (
        "subset: {measure: random, fraction: 0.5}\n"
        "search: {epochs: 1, warmup_epochs: 0, channels: 4, cells: 3, batch_size: 8}\n"
        "retrain: {channels: 4, cells: 3, epochs: 1, batch_size: 16}\n"
    )
    place = Place(tmp_path, TINY)
    (tmp_path / "tiny.yaml").write_text(text)
    assert (
        place.run("robustness.images=8", "robustness.shift={out_of_distribution: {kind: digits}}")
        == 0
    )
    result = result_of(place)
    assert (result["of"], result["architecture"], result["images"]) == ("network", "network", 8)
    results = json.loads((tmp_path / "runs/tiny/report/results.json").read_text())
    assert set(results["cost"]["stages"]) == {"subset", "search", "retrain"}
    assert results["robustness"]["cost"]["attempts"] == 1
    assert "## Robustness" in (tmp_path / "runs/tiny/report/report.md").read_text()
    assert result["shift"]["out_of_distribution"]["images"] == 355
    graph = build_graph(STAGES, load_config(tmp_path / "tiny.yaml"))
    assert stage_order(graph, STAGES)[-2:] == ["retrain", "robustness"]
    of_scorer = load_config(tmp_path / "tiny.yaml", ["robustness.of=scorer"])
    assert STAGES["robustness"].needs(of_scorer) == ("data", "scorer")


def test_the_stage_is_named_by_all_that_decides_it(finished):
    path = finished.folder / "tiny.yaml"
    before = keys(path)
    assert "robustness" not in keys(path, "robustness=null")
    assert keys(path, "robustness.of=scorer") == before
    for change in ("robustness.steps=4", "robustness.epsilons=[4/255]", finished.substitutes):
        after = keys(path, change)
        assert after["robustness"] != before["robustness"]
        assert after["scorer"] == before["scorer"]
    copied = finished.others / "scorer.safetensors"
    shutil.copy(finished.weights, copied)
    statistics = json.dumps(statistics_beside(finished.weights).model_dump(mode="json"))
    same = f"model: resnet8, weights: {copied}, normalization: {statistics}"
    moved = keys(path, f"robustness.substitutes=[{{{same}}}]")
    stood = keys(path, f"robustness.substitutes=[{{weights: {finished.weights}}}]")
    assert moved == stood  # what a file holds counts, not where it lies


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["robustness.epsilons=[8]"], "robustness.epsilons.0: found 8; "),
        (["robustness.epsilons=[0]"], "robustness.epsilons.0: found 0; "),
        (["robustness.epsilons=[8/0]"], "robustness.epsilons.0: found '8/0'; division by zero"),
        (["robustness.epsilons=[x]"], "robustness.epsilons.0: found 'x'; "),
        (["robustness.epsilons=[0.1, 0.1]"], "a value occurs twice"),
        (["robustness.epsilon=0.1"], "robustness.epsilon: unknown key; did you mean epsilons?"),
        (
            ["robustness.of=network"],
            "robustness.of: found 'network' with goal classifier",
        ),
        (
            ["robustness.shift.imagenet_a=/absent"],
            "robustness.shift.imagenet_a: folder /absent not",
        ),
        (
            ["robustness.shift.out_of_distribution={kind: digits, classes: 3}"],
            "images that the classifier is evaluated on",
        ),
        (
            ["robustness.substitutes=[{weights: /absent}]"],
            "substitutes.0.weights: /absent: no such",
        ),
        (["robustness.substitutes=[{model: vgg, weights: w}]"], "substitutes.0.model: found 'vgg'"),
        (
            ["robustness.substitutes=[{model: resnet50, weights: w}]"],
            "substitutes.0.model: resnet50 needs images of at least 32",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, overrides, expected):
    assert Place(tmp_path, TINY).run(*overrides) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()


def test_a_substitute_of_other_classes_or_another_size_is_refused(finished, capsys):
    substitutes = f"robustness.substitutes=[{{weights: {finished.weights}}}]"
    alone = finished.others / "alone.safetensors"
    shutil.copy(finished.weights, alone)
    for overrides, expected in (
        ([substitutes, "data.image_size=16"], "was trained on other images"),
        (
            [
                f"robustness.substitutes=[{{weights: {alone}, normalization: {HALF}}}]",
                "data.classes=4",
            ],
            "scorer has 3 classes, data has 4",
        ),
    ):
        assert finished.run(*overrides, name="bad") == 2
        error = capsys.readouterr().err
        assert expected in error
        assert "robustness.substitutes.0.weights: " in error
        assert error.count("\n") == 1


def test_weights_that_do_not_say_how_images_were_normalised_are_asked_for_it(finished, capsys):
    alone = finished.others / "unknown" / "scorer.safetensors"
    alone.parent.mkdir()
    shutil.copy(finished.weights, alone)
    assert finished.run(f"robustness.substitutes=[{{weights: {alone}}}]", name="bad") == 2
    error = capsys.readouterr().err
    assert f"robustness.substitutes.0.normalization: missing, and {alone} does not" in error
    assert error.count("\n") == 1


def test_a_substitute_sees_images_normalised_as_in_its_training(finished, monkeypatch):
    alone = finished.others / "scorer.safetensors"
    shutil.copy(finished.weights, alone)
    own = load_dataset(load_config(finished.folder / "tiny.yaml").data).normalization
    assert statistics_beside(finished.weights) == InputStatistics(mean=own.mean, std=own.std)
    attacked, measured = [], measure.measure_robustness

    def note(sources, *arguments, **settings):
        attacked.extend(source.model.eval() for source in sources)
        return measured(sources, *arguments, **settings)

    monkeypatch.setattr(measure, "measure_robustness", note)
    substitutes = ", ".join(
        f"{{weights: {alone}, normalization: {{mean: {list(own.mean)}, std: {std}}}}}"
        for std in (list(own.std), [0.9, 0.1, 0.5])
    )
    assert finished.run(f"robustness.substitutes=[{substitutes}]", name="normalised") == 0
    before, after = result_of(finished)["attacks"], result_of(finished, "normalised")["attacks"]
    assert [each["curve"] for each in after[2:4]] == [each["curve"] for each in before[2:4]]
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std, other = (
        torch.tensor(each).view(3, 1, 1) for each in (own.mean, own.std, [0.9, 0.1, 0.5])
    )
    _, usual, foreign = attacked
    # Pixels that become the same input under the second normalization.
    torch.testing.assert_close(foreign((pixels - mean) / std * other + mean), usual(pixels))


def test_without_the_toolbox_the_stage_alone_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    place = Place(tmp_path, TINY)
    assert place.run() == 2
    assert "allowed without it: none" in capsys.readouterr().err
    assert place.run("robustness=null", "scorer.epochs=1") == 0
