"""Networks loaded elsewhere: by safetensors, by onnxruntime, by timm without this repository."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from classification.data.datasets import load_dataset
from classification.errors import ArtifactError, WorkError
from classification.training.step import logits_of
from pipeline.config import load_config
from pipeline.exports.network import load_network
from pipeline.exports.onnx import OPSETS, FromPixels, check_agreement
from pipeline.reports.footprint import Latencies
from run_pipeline import main
from tests.pipeline.exports.test_export import Place
from tests.pipeline.exports.test_origins import write_images

TINY = """
name: tiny
data:    {data}
subset:  {{measure: random, fraction: 0.5}}
scorer:  {{model: resnet9, epochs: 2, batch_size: 16, mixing: {{kind: none}}}}
search:  {{epochs: 1, warmup_epochs: 0, channels: 4, cells: 3, batch_size: 8}}
retrain: {{channels: 4, cells: 3, epochs: 2, batch_size: 16}}
"""
DIGITS = "{kind: digits, classes: 7, images_per_class: 24}"
SETTINGS = {
    "cells_cifar": ["retrain.average_decay=0.9"],
    "cells_imagenet": [
        "target={kind: folder, root: IMAGES, image_size: 64, storage: files, workers: 0}",
        "retrain={network: imagenet, channels: 4, cells: 3, epochs: 1, warmup_epochs: 0, "
        "batch_size: 8}",
    ],
    "resnet9": ["goal=classifier"],
}


class Trained:
    """A finished run, and its network as safetensors in `folder`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.run, self.folder = kind, kind.replace("_", "-"), folder / "safetensors"
        for name in ("ant", "bee"):
            write_images(folder / "images" / "train" / name, 8)
            write_images(folder / "images" / "val" / name, 4)
        self.place = Place(folder, TINY.format(data=DIGITS))
        settings = [
            override.replace("IMAGES", str(folder / "images")) for override in SETTINGS[kind]
        ]
        arguments = [part for setting in settings for part in ("--set", setting)]
        assert self.place.run(*arguments, "--name", self.run) == 0
        assert self.place.export("safetensors", self.folder, run=self.run) == 0
        config = load_config(folder / "runs" / self.run / "config.yaml")
        self.dataset = load_dataset(config.data if kind == "resnet9" else config.target)
        self.error: float = self.results()["accuracy"]["top1_error_last"]

    def results(self) -> dict[str, Any]:
        report = self.place.folder / "runs" / self.run / "report"
        found: dict[str, Any] = json.loads((report / "results.json").read_text())
        return found

    def latencies(self) -> Latencies:
        run = self.place.folder / "runs" / self.run
        stages = json.loads((run / "manifest.json").read_text())["stages"]
        return Latencies(run / "report", stages.get("retrain", ""))

    def pixels(self) -> tuple[Tensor, Tensor]:
        """All test images, uint8 [N, 3, H, W], and their labels, as evaluation sees them."""
        loader = self.dataset.test.loader(1000, torch.device("cpu"), training=False)
        ((images, labels),) = loader.batches()
        return images, labels

    def logits(self, pixels: Tensor) -> Tensor:
        """Those of the exported weights in our own code."""
        network, _ = load_network(self.folder)
        with torch.inference_mode():
            return logits_of(network(self.dataset.normalization(pixels)))


@pytest.fixture(scope="module")
def all_trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    return {kind: Trained(kind, tmp_path_factory.mktemp(kind)) for kind in SETTINGS}


@pytest.fixture(params=SETTINGS)
def trained(request: pytest.FixtureRequest, all_trained: dict[str, Trained]) -> Trained:
    return all_trained[request.param]


def test_safetensors_give_back_the_network_that_was_tested(trained: Trained) -> None:
    pixels, labels = trained.pixels()
    wrong = trained.logits(pixels).argmax(1) != labels
    assert 100 * float(wrong.double().mean()) == pytest.approx(trained.error, abs=1e-3)


def test_config_and_weights_say_all_that_is_needed(trained: Trained) -> None:
    weights = load_file(trained.folder / "model.safetensors")
    assert weights
    assert not [name for name in weights if "auxiliary" in name]
    config = json.loads((trained.folder / "config.json").read_text())
    assert config["architecture"] == trained.kind
    assert config["class_names"] == list(trained.dataset.classes)
    assert tuple(config["mean"]) == trained.dataset.normalization.mean
    assert config["resize"] == {"cells_imagenet": 73}.get(trained.kind, 8)  # 64 · 256 / 224
    card = (trained.folder / "README.md").read_text()
    name = {"cells_imagenet": "val"}.get(trained.kind, "test")
    number = f"{len(trained.dataset.test)} {name} images"
    assert f"| top-1 error | {trained.error:.2f} % of {number}, with these weights |" in card
    assert f"not selected on {name} images" in card
    assert ("moving average of decay 0.9" in card) == (trained.kind == "cells_cifar")
    assert all(f"- `{key}`: " in card for key in config)


def test_the_report_has_the_size_of_the_exported_file(all_trained: dict[str, Trained]) -> None:
    for kind in ("cells_cifar", "cells_imagenet"):
        trained = all_trained[kind]
        network = trained.results()["network"]
        size = (trained.folder / "model.safetensors").stat().st_size
        assert network["footprint"]["float32_bytes"] == size
        side = trained.dataset.image_size
        assert network["footprint"]["peak_activation_bytes"] > 4 * 3 * side**2


def test_a_latency_is_measured_once_and_shown_beside_those_measured_later(
    all_trained: dict[str, Trained],
) -> None:
    trained = all_trained["cells_cifar"]
    page = trained.place.folder / "runs" / trained.run / "report" / "report.md"
    (before,) = trained.results()["network"]["footprint"]["latencies"]
    torch_version = f"torch {torch.__version__}"
    assert (before["runtime"], before["runs"]) == (torch_version, 25)
    assert f"| latency, {torch_version} | {before['milliseconds']:.3g} ms" in page.read_text()
    assert "| latency, onnxruntime | – | measured by `export RUN --as onnx`" in page.read_text()
    latencies = trained.latencies()
    latencies.keep("onnxruntime 1", "a device", 2.5)
    assert main(["report", trained.run, *trained.place.places]) == 0
    own, other = trained.results()["network"]["footprint"]["latencies"]
    assert own == before
    assert other["milliseconds"] == 2.5
    shown = "| latency, onnxruntime 1 | 2.5 ms | one image, median of 25, a device |"
    assert shown in page.read_text()
    assert list(Latencies(latencies.folder, "another network")) == []
    (page.parent / "latency.json").write_text("{}")
    assert list(latencies) == []  # as for a damaged file: measured again


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "{", "config.json: .*nvalid JSON"),
        ("config.json", '{"format": 2}', r"config.json: format: found 2"),
        ("model.safetensors", "", "model.safetensors: not loadable"),
    ],
)
def test_a_damaged_export_is_named(
    file: str, text: str, message: str, all_trained: dict[str, Trained], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(all_trained["cells_cifar"].folder, copy)
    (copy / file).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        load_network(copy)


def test_onnxruntime_takes_pixels_and_agrees_or_is_not_believed(
    trained: Trained, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the export extra is not installed")
    path = tmp_path / "network.onnx"
    assert trained.place.export("onnx", path, run=trained.run) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]  # its weights are within
    measured = [each["runtime"] for each in trained.latencies()]
    assert (f"onnxruntime {runtime.__version__}" in measured) == (trained.kind != "resnet9")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels, _ = trained.pixels()
    for number in (1, 3, len(pixels)):
        (found,) = session.run(None, {"pixels": pixels[:number].numpy()})
        torch.testing.assert_close(
            torch.from_numpy(found), trained.logits(pixels[:number]), rtol=1e-4, atol=1e-4
        )
    opsets = onnx.load(path).opset_import
    assert [each.version for each in opsets if not each.domain] == [20]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(trained.dataset.classes)
    assert metadata["input"].startswith("uint8 RGB pixels [N, 3, ")
    network, config = load_network(trained.folder)
    model = FromPixels(network, config)
    check_agreement(path, model, config.image_size)
    with torch.no_grad():  # so that the file is another network's
        next(module for module in network.modules() if isinstance(module, nn.Linear)).weight += 1
    with pytest.raises(WorkError, match="onnxruntime's logits differ from torch's by"):
        check_agreement(path, model, config.image_size)


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_onnxruntime_takes_the_ends_of_the_range_of_opsets(
    opset: int, all_trained: dict[str, Trained], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    trained, path = all_trained["cells_cifar"], tmp_path / "network.onnx"
    options = ("--opset", str(opset))  # the export compares the logits of onnxruntime and torch
    assert trained.place.export("onnx", path, *options, run=trained.run) == 0
    opsets = onnx.load(path).opset_import
    assert [each.version for each in opsets if not each.domain] == [opset]


ELSEWHERE = """
import json, sys
from pathlib import Path

import huggingface_hub, numpy as np, timm, torch
from timm.models._hub import save_config_for_hf

found = {}
for folder in map(Path, sys.argv[1:]):
    (module,) = folder.glob("*.py")
    sys.path.insert(0, str(folder))
    __import__(module.stem)
    model = timm.create_model(module.stem, pretrained=True).eval()
    data = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
    images = (torch.from_numpy(np.load(folder / "pixels.npy")).float() / 255 - mean) / std
    from_folder = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    headless = timm.create_model(module.stem, pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        logits = model(images)
        assert torch.equal(from_folder(images), logits)
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        assert torch.equal(headless(images), features)
        assert features.shape[1] == model.num_features
    np.save(folder / "logits.npy", logits.numpy())
    other = timm.create_model(module.stem, pretrained=True, num_classes=4, in_chans=1)
    gray = images.mean(1, keepdim=True)
    assert other(gray).shape == (len(images), 4)
    dropping = timm.create_model(module.stem, pretrained=True, drop_rate=0.5)
    with torch.inference_mode():
        assert torch.equal(dropping.eval()(images), logits)
        kept = dropping.train().forward_head(dropping.forward_features(images), pre_logits=True)
        assert 0.3 < (kept == 0).float().mean() < 1
        for pool in ("avg", "max"):
            try:
                pooled = timm.create_model(module.stem, pretrained=True, global_pool=pool).eval()
            except ValueError as error:  # a classifier has the pooling that it was trained with
                assert str(error).startswith(f"global_pool: found '{pool}', allowed: (")
                assert "resnet" in module.stem
                continue
            if torch.equal(pooled(images), logits):
                continue
            assert pool == "max"
            maps = pooled.forward_features(images)
            features_of_max = pooled.forward_head(maps, pre_logits=True)
            torch.testing.assert_close(features_of_max, maps.amax((2, 3)))
        if "cells" in module.stem:
            bare = timm.create_model(module.stem, pretrained=True, num_classes=0, global_pool="")
            maps = bare.eval()(images)
            assert maps.dim() == 4
            torch.testing.assert_close(maps.mean((2, 3)), features)
    found[module.stem] = {key: data[key] for key in ("input_size", "crop_pct", "interpolation")}
    found[module.stem]["labels"] = model.pretrained_cfg["label_names"]
for folder in Path("hub").glob("models--*/snapshots/*"):
    card = (folder / "README.md").read_text()
    names = {}
    exec(card.partition("```python")[2].partition("```")[0], names)
    model = names["model"]
    assert Path(names["folder"]) == folder.absolute()
    data = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
    pixels = np.load(folder.parents[1] / "pixels.npy")
    images = (torch.from_numpy(pixels).float() / 255 - mean) / std
    from_folder = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        logits = model(images)
        assert torch.equal(from_folder(images), logits)
    np.save(folder.parents[1] / "logits.npy", logits.numpy())
    given = json.loads((folder / "config.json").read_text())
    labels = {"label_names": given["label_names"], "global_pool": given["global_pool"]}
    save_config_for_hf(model, "theirs.json", labels)
    theirs = json.loads(Path("theirs.json").read_text())
    assert {key: theirs[key] for key in given if key != "pretrained_cfg"} == {
        key: given[key] for key in given if key != "pretrained_cfg"
    }
    shared = given["pretrained_cfg"].keys()
    assert {key: theirs["pretrained_cfg"][key] for key in shared} == given["pretrained_cfg"]
    described = huggingface_hub.ModelCard.load(folder / "README.md").data
    assert described.license is None and described.library_name == "timm"
    found[folder.parents[1].name] = [each.metric_value for each in described.eval_results]
ours = {"classification", "pcdarts", "pipeline", "evaluate", "subsample"}
assert not ours & {name.partition(".")[0] for name in sys.modules}
print(json.dumps(found))
"""


def test_timm_loads_it_from_a_folder_and_from_the_hub_without_this_repository(
    all_trained: dict[str, Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: the dev extra")
    folders, expected = [], {}
    for kind, trained in all_trained.items():
        folder = tmp_path / kind
        assert trained.place.export("timm", folder, run=trained.run) == 0
        pixels, _ = trained.pixels()
        np.save(folder / "pixels.npy", pixels.numpy())
        folders.append(folder)
        expected[kind] = trained.logits(pixels)
        snapshot = tmp_path / "hub" / f"models--YOU--{trained.run}" / "snapshots" / ("0" * 40)
        assert trained.place.export("hub", snapshot, run=trained.run) == 0
        assert f"hf upload YOU/{trained.run} {snapshot} . --exclude" in capsys.readouterr().err
        assert (snapshot / "cells.png").exists() == kind.startswith("cells")
        repository = snapshot.parents[1]
        np.save(repository / "pixels.npy", pixels.numpy())
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(snapshot.name)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, *map(str, folders)],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind, logits in expected.items():
        repository = tmp_path / "hub" / f"models--YOU--{all_trained[kind].run}"
        for folder in (tmp_path / kind, repository):
            found = torch.from_numpy(np.load(folder / "logits.npy"))
            torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    said = json.loads(done.stdout.splitlines()[-1])
    for trained in all_trained.values():
        accuracy = said[f"models--YOU--{trained.run}"][0]
        assert accuracy == pytest.approx(100 - trained.error, abs=1e-3)
    assert said["nas_cells_imagenet"] == {
        "input_size": [3, 64, 64],
        "crop_pct": pytest.approx(64 / 73),
        "interpolation": "bilinear",
        "labels": ["ant", "bee"],
    }
    assert said["nas_resnet9"]["labels"] == [str(digit) for digit in range(7)]
