"""A run that also asks for the landscape of what it trained."""

import json

import pytest
import torch

from classification import extras
from classification.classifier import load_scorer
from classification.data.datasets import load_dataset
from classification.models.weights import save_classifier_weights
from classification.persistence.workspace import Workspace
from classification.training.trainer import evaluate
from evaluate.retrain import build_network
from pcdarts.genotype import Genotype
from pipeline.config import load_config
from pipeline.graph import Context, build_graph, fingerprints, stage_order
from pipeline.stages import STAGES, landscape
from pipeline.store.store import Artifact
from run_pipeline import main
from tests.tiny import Place

DRAWN = "points: 3, plane_points: 3, noise: [0.1], noise_draws: 2, eigenvalues: 2, trace_draws: 2"
TINY = f"""
name: tiny
goal: classifier
data:      {{kind: digits, classes: 3, images_per_class: 24}}
scorer:    {{model: resnet8, epochs: 1, batch_size: 16, mixing: {{kind: none}}}}
search:    {{channels: 4, cells: 3, epochs: 2, warmup_epochs: 1, batch_size: 8}}
retrain:   {{channels: 4, cells: 3, epochs: 1, batch_size: 16}}
landscape: {{images: 12, batch_size: 8, {DRAWN}}}
"""
PROBE = "probe={model: resnet8, batch_size: 4}"
EDGES = [["sep_conv_3x3", 0], ["skip_connect", 1]]
GENOTYPE = {cell: [EDGES] * 4 for cell in ("normal", "reduce")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("landscape"), TINY)
    assert place.run() == 0
    return place


def keys(path, *overrides):
    config = load_config(path, overrides)
    return fingerprints(STAGES, config, {"data": "images", "target": "images"})


def test_the_artifact_holds_the_landscape_and_its_figures(finished):
    folder = finished.artifact("landscape")
    pictures = {f"landscape-{kind}.png" for kind in ("line", "noise", "surface", "contour")}
    assert {p.name for p in folder.iterdir()} == {"landscape.json", "artifact.json", *pictures}
    result = json.loads((folder / "landscape.json").read_text())
    assert (result["of"], result["split"], result["images"]) == ("scorer", "test", 12)
    assert result["line"]["alphas"] == [-1, 0, 1]
    assert [len(row) for row in result["plane"]["losses"]] == [3, 3, 3]
    assert result["plane"]["losses"][1][1] == result["trained"]["loss"]
    assert result["hessian"]["eigenvalues"][0] >= result["hessian"]["eigenvalues"][1]
    assert result["hessian"]["trace_error"] is not None
    report = finished.folder / "runs/tiny/report"
    found = json.loads((report / "results.json").read_text())["landscape"]
    assert found["hessian"] == result["hessian"]
    for picture in pictures:
        assert (report / picture).read_bytes() == (folder / picture).read_bytes()
        assert f"({picture})" in (report / "report.md").read_text()


def test_compare_draws_figure_3_of_the_run(finished, tmp_path, capsys):
    out, runs = tmp_path / "compared", ["--runs", str(finished.folder / "runs")]
    assert main(["compare", "tiny", "--stage", "landscape", "-o", str(out), *runs]) == 0
    result = json.loads((finished.artifact("landscape") / "landscape.json").read_text())
    page = (out / "figure3.md").read_text()
    assert page in capsys.readouterr().out
    assert f"| {result['trained']['loss']:.3f} |" in page
    assert f"| {result['hessian']['eigenvalues'][0]:.2f} |" in page
    pictures = {path.name for path in finished.artifact("landscape").glob("*.png")}
    assert {path.name for path in out.iterdir()} == {"figure3.md", "comparison.json", *pictures}
    for name in pictures:
        assert f"({name})" in page


def test_its_middle_is_the_scorer_that_was_trained(finished):
    config = load_config(finished.folder / "tiny.yaml")
    data = load_dataset(config.data)
    model = load_scorer(config.scorer.model, 3, finished.artifact("scorer") / "scorer.safetensors")
    overrides = ["landscape.images=500", "landscape.plane_points=0", "landscape.eigenvalues=0"]
    assert finished.run(*overrides, "landscape.trace_draws=0", name="all") == 0
    result = json.loads((finished.artifact("landscape", "all") / "landscape.json").read_text())
    loader = data.test.loader(64, torch.device("cpu"), training=False)
    judged = evaluate(model, loader, data.normalization)
    assert result["images"] == len(data.test)
    assert result["trained"]["loss"] == pytest.approx(judged.loss, rel=1e-5)
    assert result["trained"]["accuracy"] == judged.top1_accuracy


def test_a_stopped_stage_ends_with_the_same_bytes(finished, tmp_path, monkeypatch):
    honest = Workspace.save_part

    def stopping(self, step, part, state):
        honest(self, step, part, state)
        if part == 4:
            raise KeyboardInterrupt

    place = Place(tmp_path, TINY)
    monkeypatch.setattr(Workspace, "save_part", stopping)
    assert place.run() == 130
    monkeypatch.setattr(Workspace, "save_part", honest)
    assert place.run() == 0
    for path in finished.artifact("landscape").glob("landscape*"):
        assert (place.artifact("landscape") / path.name).read_bytes() == path.read_bytes()


def test_a_retrained_network_with_an_auxiliary_head_has_one_too(finished, tmp_path):
    """The stage alone, on a network that was never trained: loading is what is tested."""
    quick = ["landscape.images=6", "landscape.plane_points=0", "landscape.eigenvalues=0"]
    config = load_config(finished.folder / "tiny.yaml", ["goal=network", *quick])
    settings = landscape.settings(config)
    data = load_dataset(config.target)
    network = build_network(Genotype.from_dict(GENOTYPE), config.retrain, 3)
    save_classifier_weights(network, tmp_path / "network.safetensors")
    (tmp_path / "genotype.json").write_text(json.dumps(GENOTYPE))
    (tmp_path / "network.json").write_text(json.dumps({"channels": config.retrain.channels}))
    artifacts = {"retrain": Artifact("retrain", "key", tmp_path, "digest", {})}
    workspace, device = Workspace(tmp_path / "work"), torch.device("cpu")
    landscape.run(Context(settings, {"target": data}, artifacts, workspace, device, print))
    result = json.loads((tmp_path / "work" / "landscape.json").read_text())
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    used = sum(size for name, size in sizes.items() if "auxiliary" not in name)
    assert result["of"] == "network"
    assert result["hessian"]["parameters"] == used < sum(sizes.values())


def test_it_is_a_stage_where_it_is_asked_for_and_changes_no_other(finished):
    path = finished.folder / "tiny.yaml"
    with_it, without = keys(path), keys(path, "landscape=null")
    assert with_it == without | {"landscape": with_it["landscape"]}
    assert keys(path, "landscape.of=scorer") == with_it
    assert keys(path, "landscape.points=5")["landscape"] != with_it["landscape"]
    for goal, of, before in (
        ("network", "null", "retrain"),
        ("network", "scorer", "scorer"),
        ("subset", "null", "scorer"),
    ):
        graph = build_graph(STAGES, load_config(path, [f"goal={goal}", f"landscape.of={of}"]))
        assert before in graph.predecessors("landscape")
        assert "landscape" in stage_order(graph, STAGES)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["landscape.of=network"], "landscape.of: found 'network' with goal classifier"),
        (["landscape.points=4"], "landscape.points: found 4; the trained weights are the middle"),
        (["landscape.points=5001"], "landscape.points: found 5001; "),
        (["landscape.plane_points=201"], "landscape.plane_points: found 201; "),
        (
            ["landscape.noise=[0.2, 0.1]"],
            "landscape.noise: found [0.2, 0.1]; allowed: rising values",
        ),
        (["landscape.point=5"], "landscape.point: unknown key; did you mean points?"),
        (["landscape.split=val"], "landscape.split: found 'val'; "),
        (
            ["goal=subset", "subset.measure=random", "scorer={model: supernet}", PROBE],
            "landscape.of: found 'scorer' with scorer.model supernet",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, overrides, expected):
    assert Place(tmp_path, TINY).run(*overrides) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts" / "ledger.jsonl").exists()


def test_without_the_extra_only_curvature_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    place = Place(tmp_path, TINY)
    assert place.run() == 2
    error = capsys.readouterr().err
    assert "needs curvlinops-for-pytorch" in error
    assert error.count("\n") == 1
    overrides = [f"landscape.{name}=0" for name in ("eigenvalues", "plane_points", "trace_draws")]
    assert place.run(*overrides) == 0
    assert (place.artifact("landscape") / "landscape-noise.png").exists()
    assert place.run("landscape=null", name="none") == 0
