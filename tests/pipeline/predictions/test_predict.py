"""Predictions of a run's network: as in its test, as in its exports, for images of any mode."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from classification.data.datasets import load_dataset
from classification.errors import ArtifactError, ConfigError, DataError
from classification.training.step import logits_of
from pipeline import open_run
from pipeline.exports.network import load_network
from pipeline.predictions.assessment import assess
from pipeline.predictions.predictor import Predictions, Predictor
from pipeline.run_folder import RunFolder
from run_pipeline import main
from tests.pipeline.exports.test_export import Place

# Tested with 40 images of odd sizes, some of which the networks get wrong.
CLASSIFIER = """
name: classifier
goal: classifier
data:   {{kind: folder, root: {root}, image_size: 16{storage}}}
scorer: {{model: resnet8, epochs: 3, batch_size: 8, mixing: {{kind: none}}}}
"""
NETWORK = """
name: photos
data:   {{kind: folder, root: {root}, image_size: 16}}
scorer: {{model: resnet8, epochs: 1, batch_size: 8, mixing: {{kind: none}}}}
scores: {{draws: 2}}
subset: {{measure: cv, fraction: 0.8}}
search: {{epochs: 1, warmup_epochs: 0, channels: 4, cells: 3, batch_size: 8}}
retrain: {{channels: 4, cells: 3, epochs: 1, batch_size: 16}}
"""
CLASSES = ("ant", "bee", "cat")


def draw(path: Path, label: int, seed: int) -> None:
    """A noisy image, brighter in the channel of its class, that no crop or resize leaves alone."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(14, 40, 2)
    pixels = generator.integers(0, 200, (height, width, 3))
    pixels[..., label] += 12
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


class Trained:
    """Runs on one folder: a network, and classifiers on images in memory and in files."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "photos"
        for label, name in enumerate(CLASSES):
            for number in range(24):
                split = "train" if number < 10 else "val"
                draw(self.root / split / name / f"{number}.png", label, 100 * label + number)
        texts = {
            "photos": NETWORK.format(root=self.root),
            "memory": CLASSIFIER.format(root=self.root, storage=""),
            "files": CLASSIFIER.format(root=self.root, storage=", storage: files, workers: 0"),
        }
        for name, text in texts.items():
            self.place = Place(folder, text)
            assert self.place.run("--name", name) == 0
        self.runs, self.artifacts = folder / "runs", folder / "artifacts"

    def predict(self, *arguments: object, run: str = "memory") -> int:
        places = ["--runs", str(self.runs), "--device", "cpu"]
        return main(["predict", run, *map(str, arguments), *places])

    def open(self, run: str = "memory"):
        return open_run(run, self.runs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("predict"))


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert re.fullmatch(r"(loading the run \w+ …\n)?", captured.out)
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.mark.parametrize("run", ["photos", "memory", "files"])
def test_the_count_of_correct_test_images_is_the_runs(
    run: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert trained.predict(trained.root / "val", "--labels", "-o", out, "--json", run=run) == 0
    found = json.loads(capsys.readouterr().out)["assessment"]
    error = trained.open(run).results["accuracy"]["top1_error_last"]
    assert found["images"] == 42
    assert found["correct"] == round(42 * (1 - error / 100))
    assert 0 < found["correct"] < 42
    written = json.loads((out / "assessment.json").read_text())
    assert written["correct"] == found["correct"]
    with (out / "confusion.csv").open(newline="") as file:
        (_, *names), *rows = csv.reader(file)
    assert tuple(names) == CLASSES
    counts = np.array([[int(count) for count in row[1:]] for row in rows])
    assert counts.sum(1).tolist() == [14, 14, 14]
    assert counts.trace() == found["correct"]
    with (out / "wrong.csv").open(newline="") as file:
        wrong = list(csv.DictReader(file))
    assert len(wrong) == 42 - found["correct"]
    sure = [float(row["probability"]) for row in wrong]
    assert sure == sorted(sure, reverse=True)
    assert all(Path(row["file"]).parent.name == row["class"] != row["predicted"] for row in wrong)
    for name in ("confusion.png", "calibration.png"):
        with Image.open(out / name) as picture:
            assert picture.size[0] > 400


@pytest.mark.parametrize("run", ["photos", "memory", "files"])
def test_files_pixels_and_exports_give_the_same_logits(
    run: str, trained: Trained, tmp_path: Path
) -> None:
    opened = trained.open(run)
    folder = trained.root / "val"
    files = [folder / name / f"{number}.png" for name in CLASSES for number in range(10, 24)]
    files.sort(key=lambda file: (file.parent.name, file.name))
    data = opened.config.target
    ((pixels, labels),) = (
        load_dataset(data).test.loader(99, torch.device("cpu"), training=False).batches()
    )
    by_pixels = opened.predict(pixels, device="cpu")
    by_files = opened.predict(files, device="cpu")
    assert [file.parent.name for file in by_files.files] == [CLASSES[i] for i in labels]
    np.testing.assert_allclose(by_files.logits, by_pixels.logits, atol=1e-5)
    assert torch.equal(opened.preprocess(folder), opened.preprocessing.normalization(pixels))
    with torch.inference_mode():
        own = logits_of(opened.network()(opened.preprocess(files)))
    np.testing.assert_allclose(own.numpy(), by_pixels.logits, atol=1e-4)
    trained.place.export("safetensors", tmp_path / "out", run=run)
    network, config = load_network(tmp_path / "out")
    assert config.class_names == opened.class_names
    with torch.inference_mode():
        exported = logits_of(network(opened.preprocessing.normalization(pixels)))
    np.testing.assert_allclose(exported.numpy(), by_pixels.logits, atol=1e-4)
    np.testing.assert_allclose(by_files.probabilities.sum(1), 1)
    best = by_files.top(2)[0]
    assert best[0][0] == by_files.labels[0]
    assert best[0][1] == by_files.probabilities[0].max() >= best[1][1]


def test_the_images_of_the_training_are_not_needed(trained: Trained, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    shutil.copy(trained.root / "val" / "ant" / "10.png", photo)
    away = trained.root.with_name("away")
    trained.root.rename(away)
    try:
        assert trained.open("photos").predict(photo, device="cpu").labels[0] in CLASSES
    finally:
        away.rename(trained.root)


def write_modes(folder: Path) -> list[str]:
    """An image of each mode and one deeper than 8 bits in three ways; the names of the files."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    folder.mkdir()
    for mode, ending in (
        ("RGB", "png"), ("L", "png"), ("1", "png"), ("LA", "png"), ("P", "gif"), ("RGBA", "png"),
        ("CMYK", "jpg"), ("YCbCr", "jpg"), ("LAB", "tif"), ("I", "tif"),
    ):  # fmt: skip
        image.convert(mode).save(folder / f"{mode}.{ending}")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 256).save(folder / "deep.png")
    Image.fromarray((pixels[..., 0] / 255).astype(np.float32)).save(folder / "float.tif")
    clear = image.convert("P")
    clear.save(folder / "clear.png", transparency=clear.getpixel((0, 0)))
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("run", ["memory", "files"])
def test_images_of_all_modes_are_classified_and_their_treatment_is_printed(
    run: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = write_modes(tmp_path / "modes")
    (tmp_path / "modes" / "notes.txt").write_text("no image")
    assert trained.predict(tmp_path / "modes", "--json", run=run) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(each["file"]).name for each in found["predictions"]] == names
    said = "\n".join(found["notes"])
    for mode in (
        "kinds of images: ", "2 RGB (colour, nothing to convert)", "1 CMYK (converted to RGB)",
        "1 LA (gray with transparency)",
        "1 I;16 (gray of more than 8 bits)", "1 F (gray of floating-point numbers",
        "3 images with transparency, composited over #ffffff",
        "2 of more than 8 bits a channel, scaled by 16 bits", "passed over: 1 file (.txt 1)",
    ):  # fmt: skip
        assert mode in said, said


@pytest.mark.parametrize("run", ["memory", "files"])
def test_gray_photographs_are_the_same_in_8_and_in_16_bits(
    run: str, trained: Trained, tmp_path: Path
) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    gray[0, 0] = 255
    Image.fromarray(gray).save(tmp_path / "8.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "16.png")
    opened = trained.open(run)
    shallow, deep = (opened.preprocess(tmp_path / f"{bits}.png") for bits in (8, 16))
    torch.testing.assert_close(deep, shallow, atol=0.03, rtol=0)
    with Image.open(tmp_path / "16.png") as picture:
        picture.load()
        assert torch.equal(opened.preprocess(picture), deep)
    array = np.repeat(gray[..., None], 3, 2)
    assert torch.equal(opened.preprocess(array), shallow)


def test_an_unreadable_image_is_named_and_stops_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = tmp_path / "mixed", tmp_path / "table.csv"
    for number in range(70):  # so many that worker processes read them
        draw(folder / f"{number:02}.png", 0, number)
    (folder / "10.png").write_bytes((folder / "11.png").read_bytes()[:60])
    (folder / "20.png").unlink()
    (folder / "20.png").symlink_to(tmp_path / "nowhere")
    assert trained.predict(folder, "--csv", table, "--top", "2") == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 2
    assert f"{folder / '10.png'}: unreadable" in captured.err
    assert "68 images on " in captured.out
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = ["class_1", "probability_1", "class_2", "probability_2"]
    assert list(rows[0]) == ["file", *pairs, "unreadable"]
    assert [Path(row["file"]).name for row in rows[-2:]] == ["10.png", "20.png"]
    assert all(row["class_1"] in CLASSES and not row["unreadable"] for row in rows[:-2])
    opened = trained.open()
    with pytest.raises(DataError, match=r"10\.png: unreadable .*; allowed: whole images"):
        opened.predict(folder, device="cpu")
    in_one = opened.predict([folder / "00.png", folder / "69.png"], device="cpu")
    assert in_one.labels == [rows[0]["class_1"], rows[67]["class_1"]]


def test_the_first_unreadable_image_ends_a_prediction_in_python(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        draw(tmp_path / f"{number}.png", 0, number)
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[:60])
    monkeypatch.setattr("pipeline.predictions.reading.batch_size_of", lambda size: 2)
    classified = list[int]()
    logits = Predictor.logits

    def counted(self: Predictor, pixels: torch.Tensor) -> np.ndarray:
        classified.append(len(pixels))
        return logits(self, pixels)

    monkeypatch.setattr(Predictor, "logits", counted)
    opened = trained.open()
    for use in (
        lambda: opened.predict(tmp_path, device="cpu"),
        lambda: opened.preprocess(tmp_path),
    ):
        with pytest.raises(DataError, match=r"3\.png: unreadable"):
            use()
    assert classified == [2]
    cut = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    with pytest.raises(DataError, match=r"images: .*: unreadable"):
        opened.predict(cut, device="cpu")


def test_only_what_was_written_is_printed(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out, table = tmp_path / "val" / "ant" / "x.png", tmp_path / "out", tmp_path / "x.csv"
    broken.parent.mkdir(parents=True)
    broken.write_text("no image")
    assert trained.predict(tmp_path / "val", "--labels", "-o", out, "--csv", table) == 1
    printed = capsys.readouterr().out
    assert not out.exists()
    assert table.exists()
    assert str(table) in printed
    assert str(out) not in printed.replace(str(table), "")


@pytest.mark.parametrize("classes", [5, 6])
def test_the_top_5_is_printed_where_there_are_more_than_5_classes(classes: int) -> None:
    logits = np.zeros((2, classes), np.float32)
    logits[:, 0] = 1
    names = tuple("abcdef"[:classes])
    lines = assess(Predictions(names, logits, [Path("x"), Path("y")]), [0, classes - 1]).describe()
    top5 = ", top-5 50.00 %" if classes > 5 else ""
    assert lines[0].startswith(f"top-1 accuracy 50.00 % (1 of 2){top5}, balanced")


def test_files_that_are_already_found_are_not_looked_for_again(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = Mock(side_effect=AssertionError)
    monkeypatch.setattr("pipeline.opened_run.find_photos", searched)
    assert trained.predict(trained.root / "val" / "ant") == 0


def test_a_class_whose_name_is_not_utf_8_is_predicted_and_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (os.fsdecode(b"caf\xe9"), "tea")
    for label, name in enumerate(names):
        for split in ("train", "val"):
            for number in range(4):
                draw(tmp_path / "photos" / split / name / f"{number}.png", label, number)
    text = CLASSIFIER.format(root=tmp_path / "photos", storage="")
    place = Place(tmp_path, text)
    assert place.run("--set", "scorer.epochs=1") == 0
    capsys.readouterr()
    arguments = ["predict", "classifier", str(tmp_path / "photos" / "val"), "--labels", "--json"]
    outputs = ["--csv", str(tmp_path / "x.csv"), "-o", str(tmp_path / "out"), *place.places]
    assert main([*arguments, "--device", "cpu", *outputs]) == 0
    printed = capsys.readouterr().out
    printed.encode()
    classes = json.loads(printed)["assessment"]["classes"]
    assert {row["class"] for row in classes} == set(names)
    assert b"caf\xe9" in (tmp_path / "x.csv").read_bytes()
    forms = [("timm", "config.json"), ("hub", "config.json"), ("safetensors", "config.json")]
    for form, file in forms:
        assert place.export(form, tmp_path / form, run="classifier") == 0
        written = json.loads((tmp_path / form / file).read_text())
        assert "caf\\udce9" in written.get("label_names", written.get("class_names"))


def test_a_flat_folder_is_labelled_by_a_file(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "val"
    for number in range(4):
        draw(flat / f"{number}.png", number % 2, number)
    assert trained.predict(flat, "--labels") == 2
    assert "found images but no class folders" in refusal(capsys)
    lines = "".join(f"{number}.png {CLASSES[number % 2]}\n" for number in range(4))
    (tmp_path / "val.txt").write_text(lines)  # found by its name
    assert trained.predict(flat, "--labels", "--json") == 0
    found = json.loads(capsys.readouterr().out)["assessment"]
    assert [row["images"] for row in found["classes"]] == [2, 2, 0]
    (tmp_path / "other.txt").write_text(lines.replace("bee", "wasp"))
    assert trained.predict(flat, "--label-file", tmp_path / "other.txt") == 2
    assert "other.txt: line 2: found class 'wasp'" in refusal(capsys)


def test_a_name_that_is_not_utf_8_is_escaped(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, name in enumerate(CLASSES):
        draw(tmp_path / name / "x.png", label, 0)
        (tmp_path / name / "x.png").rename(tmp_path / name / os.fsdecode(b"\xff\x1b[31m.png"))
    assert trained.predict(tmp_path, "--labels", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["predictions"][0]["file"].endswith("\\udcff\\x1b[31m.png")
    assert found["assessment"]["images"] == 3
    assert "\x1b" not in captured.out + captured.err


def test_bad_input_is_one_line_and_writes_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "labelled" / "wasp").mkdir(parents=True)
    val = trained.root / "val"
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        ((tmp_path / "absent.png",), "no file or folder"),
        ((empty,), "empty: found no images, allowed: at least 1"),
        ((tmp_path / "labelled", "--labels", "-o", out), "found the class folders wasp"),
        ((val, val, "--labels"), "--labels: found 2 paths; allowed: one folder"),
        ((val, "-o", out), "-o: found without --labels"),
        ((val, "--csv", tmp_path / "empty"), "--csv: " + str(tmp_path / "empty") + " exists"),
        ((val, "--csv", val / "ant" / "10.png" / "x.csv"), "10.png is not a folder; choose"),
        ((val, "--labels", "-o", out, "--csv", out), "--csv: found "),
        ((val, "--labels", "-o", out, "--csv", out / "x.csv"), "allowed: a path outside of -o"),
        ((val, "--labels", "-o", out / "x", "--csv", out), "allowed: a path outside of -o"),
        ((val, "--device", "tpu"), "--device: found 'tpu'"),
    ):
        arguments = (*arguments, "--device", "cpu") if "--device" not in arguments else arguments
        places = ["--runs", str(trained.runs)]
        assert main(["predict", "memory", *map(str, arguments), *places]) == 2
        assert message in refusal(capsys)
    assert trained.predict(val, run="absent") == 2
    assert "no run called 'absent'" in refusal(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_network_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = NETWORK.format(root=trained.root)
    place = Place(tmp_path, text)
    assert place.run("--set", "subset.measure=random", "--until", "subset") == 0
    capsys.readouterr()
    places = ["--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main(["predict", "photos", str(trained.root / "val"), *places]) == 2
    assert "photos: the run has no retrain yet; resume with: " in refusal(capsys)
    with RunFolder(tmp_path / "runs" / "photos").claimed(print):
        assert main(["predict", "photos", str(trained.root / "val"), *places]) == 2
    running = "it is still running; see: python run_pipeline.py status photos --runs"
    assert f"photos: the run has no retrain yet; {running}" in refusal(capsys)
    opened = open_run("photos", tmp_path / "runs")
    with pytest.raises(ArtifactError, match="the run has no search yet"):
        _ = opened.genotype
    with pytest.raises(ArtifactError, match="the run has no report yet"):
        _ = opened.results
    with pytest.raises(ConfigError, match="the measure random has no scores"):
        _ = opened.scores
    assert len(set(opened.subset.indices.tolist())) == 24


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 16, 16).byte(), r"uint8 \[2, 1, 16, 16\]; allowed: uint8 \[N, 3, 16"),
        (torch.zeros(2, 3, 16, 16), "tensor of float32"),
        (np.zeros((16, 16, 4), np.uint8), r"\[16, 16, 4\]; allowed: uint8 \[height, width, 3\]"),
        ([], "found none"),
        ([Path("a.png"), np.zeros((4, 4, 3), np.uint8)], "among images"),
    ],
)
def test_images_of_other_kinds_are_an_error(images: object, message: str, trained: Trained) -> None:
    with pytest.raises(DataError, match=message):
        trained.open().predict(images, device="cpu")


def test_what_an_older_program_trained_is_described_by_its_dataset(trained: Trained) -> None:
    opened = trained.open()
    recorded = opened.preprocessing
    (manifest,) = (
        path
        for path in (trained.artifacts / "scorer").glob("*/artifact.json")
        if json.loads(path.read_text())["fingerprint"] == opened._run.stages["scorer"]
    )
    text = manifest.read_text()
    values = json.loads(text)
    del values["preprocessing"], values["checksum"]
    manifest.write_text(json.dumps(values))
    try:
        assert trained.open().preprocessing == recorded
    finally:
        manifest.write_text(text)


def test_the_example_of_the_docs_runs(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[3] / "docs" / "api.md"
    code = "\n".join(re.findall("```python\n(.*?)```", page.read_text(), re.S))
    monkeypatch.chdir(trained.root.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["found"]) == len(names["logits"]) == 14
    assert len(names["kept"]) == 24
    assert "runs: no run called 'potatoes'; existing runs: " in capsys.readouterr().out
