"""report.html of runs of every goal and of several runs, read as text and opened in Chromium."""

import base64
import io
import json
import re
import shutil
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.inputs import load_datasets
from pipeline.reports.gallery import gallery
from pipeline.run_folder import RunFolder
from pipeline.store.store import store_of
from run_pipeline import main
from tests.html_page import check_fits, check_self_contained, read_page

HOSTILE = "<script>alert(1)"
QUOTED = '"><img src=x onerror=alert(1)>'
CLASSES = (HOSTILE, QUOTED, "bee & wasp")
TINY = """
name: tiny
data:    {kind: folder, root: ROOT, image_size: 16}
scorer:  {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: dcutmix, num_images: 3}}
scores:  {draws: 8}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 3, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 8}
retrain: {network: cifar, channels: 4, cells: 3, epochs: 2, batch_size: 16}
"""
RUNS = {
    "tiny": [],
    "chance": ["subset.measure=random"],
    "trained": ["goal=classifier", "scorer.class_weights=inverse"],
    "kept": ["goal=subset"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a run of every goal has ended, on images of classes with hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for value, name in enumerate(CLASSES):
            (folder / "images" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 90, (16, 16, 3), dtype=np.uint8) + np.uint8(80 * value)
                Image.fromarray(pixels).save(folder / "images" / split / name / f"{index}.png")
    (folder / "tiny.yaml").write_text(TINY.replace("ROOT", str(folder / "images")))
    for name, overrides in RUNS.items():
        set_ = [word for override in overrides for word in ("--set", override)]
        assert command(folder, "run", str(folder / "tiny.yaml"), "--name", name, *set_) == 0
    assert command(folder, "report", "tiny", "chance") == 0
    return folder


def command(folder, name, *arguments):
    places = ["--runs", str(folder / "runs")]
    if name == "run":
        places += ["--artifacts", str(folder / "artifacts"), "--device", "cpu"]
    return main([name, *arguments, *places])


def page_of(folder, name):
    if name == "comparison":
        return folder / "runs" / "comparison.html"
    return folder / "runs" / name / "report" / "report.html"


PAGES = [*RUNS, "comparison"]


def read(folder, name):
    return read_page(page_of(folder, name))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_nothing_beside_it_and_runs_nothing(folder, name):
    check_self_contained(page_of(folder, name))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_by_those_who_see_no_pictures(folder, name):
    page = read(folder, name)
    assert page.of("img") or name in ("chance", "trained", "comparison")
    assert all(attributes["alt"].strip() for attributes in page.of("img"))
    assert len(page.of("svg")) == len(page.of("figure")) == len(page.descriptions) > 0
    assert all(svg["role"] == "img" for svg in page.of("svg"))
    assert all(len(words) > 30 for words in page.descriptions)
    assert len(page.of("caption")) == len(page.of("table")) > 0
    assert page.of("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.of("a")} <= set(ids)


def test_names_of_classes_are_shown_and_do_nothing(folder):
    page = read(folder, "tiny")
    assert HOSTILE in page.text
    assert QUOTED in page.text
    assert not [attributes for attributes in page.of("img") if attributes["src"] == "x"]
    assert HOSTILE not in page_of(folder, "tiny").read_text()


def test_the_page_says_what_report_md_says(folder):
    report = folder / "runs" / "tiny" / "report"
    results = json.loads((report / "results.json").read_text())
    page = read(folder, "tiny")
    for stated in (
        f"{results['accuracy']['top1_error_last']:.2f} %",
        f"{results['network']['parameters']:,}",
        f"{results['network']['multiply_adds']:,}",
        "24 of 48 images",
        "The found network and the scorer",
        "Balanced accuracy",
        "Break-even",
        "warm-up: α, β frozen",
        "python run_pipeline.py report tiny",
        f"--name tiny --runs {folder / 'runs'} --artifacts {folder / 'artifacts'}",
        "48 training and 12 val images",
        "error of guessing",
        "The whole run, with retraining, took",
    ):
        assert stated in page.text, stated
    assert f"torch {version('torch')}" in page.text
    for node in results["genotype"]["normal"]:
        for operation, _ in node:
            assert operation in page.text


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        (
            "tiny",
            [
                "confusion",
                "cost",
                "cells",
                "architecture",
                "edges",
                "scorer",
                "search",
                "retrain",
                "cv",
                "visibility",
            ],
        ),
        ("chance", ["confusion", "cost", "cells", "architecture", "edges", "search", "retrain"]),
        ("trained", ["confusion", "training"]),
        ("kept", ["confusion", "cost", "training", "cv", "visibility"]),
    ],
)
def test_every_picture_is_in_the_page_and_in_files_beside_it(folder, name, pictures):
    page, report = read(folder, name), page_of(folder, name).parent
    titles = [attributes["id"] for attributes in page.of("title") if "id" in attributes]
    drawn = [title.removesuffix("-title") for title in titles]
    assert [each for each in drawn if each != "break-even"] == pictures
    photographs = ["gallery"] if "cv" in pictures else []
    markdown = (report / "report.md").read_text()
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        files = {path.stem: path for path in report.glob(f"*{suffix}")}
        assert sorted(files) == sorted(drawn + photographs)
        assert all(path.read_bytes().startswith(magic) for path in files.values())
    assert all(f"({each}.png)" in markdown for each in drawn + photographs)


def test_what_a_figure_shows_is_also_told(folder):
    words = " ".join(read(folder, "tiny").descriptions)
    results = json.loads((folder / "runs" / "tiny" / "report" / "results.json").read_text())
    for operation, _ in results["genotype"]["normal"][0]:
        assert f"{operation} of cₖ₋" in words
    assert "Histogram of the CV of 48 images" in words
    assert "loss (nats): train from" in words
    assert re.search(r"scorer [\d.]+ CPU-\w+, scores ", words)


@pytest.mark.parametrize("name", RUNS)
def test_the_errors_of_the_classes_add_up_to_the_error(folder, name):
    report = folder / "runs" / name / "report"
    results = json.loads((report / "results.json").read_text())
    found, error = results["classes"], results["accuracy"]["top1_error_last"]
    counts = np.array(found["confusion"])
    assert counts.sum(1).tolist() == found["test_images"] == [4, 4, 4]
    assert 100 * (1 - counts.trace() / counts.sum()) == pytest.approx(error, abs=1e-3)
    assert np.mean(found["top1_errors"]) == pytest.approx(error, abs=1e-3)  # equal classes
    assert found["balanced_accuracy"] == pytest.approx(100 - error, abs=1e-3)
    text = (report / "report.md").read_text()
    assert "Errors by class" in text
    assert ("Trained with class weights inverse." in text) == (name == "trained")


def test_the_scorer_is_beside_the_network_and_the_paper_only_beside_imagenet(folder):
    results, chance = (
        json.loads((folder / "runs" / name / "report" / "results.json").read_text())
        for name in ("tiny", "chance")
    )
    scorer = results["scorer"]
    assert scorer["model"] == "resnet8"
    assert scorer["test_images"] == 12
    assert scorer["training"] == results["cost"]["stages"]["scorer"]
    assert chance["scorer"] is None  # a random subset needs no scorer
    page = read(folder, "tiny").text
    assert page.index("The found network and the scorer") < page.index("Results searched on")
    assert f"{scorer['parameters']:,}" in page
    assert "Table 6" not in page
    assert "top-5" not in page  # three classes


def test_the_paper_is_last_where_the_target_is_imagenet_or_on_request(folder, monkeypatch):
    report = folder / "runs" / "tiny" / "report" / "report.md"
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.reports.network.IMAGENET_CLASSES", len(CLASSES))
        assert command(folder, "report", "tiny") == 0
        page, text = read(folder, "tiny").text, report.read_text()
    assert command(folder, "report", "tiny", "--published") == 0
    assert report.read_text() == text
    assert command(folder, "report", "tiny") == 0
    assert "(published)" not in report.read_text()
    assert text.count("(published)") == 9
    (own,) = (line for line in text.splitlines() if "this run on" in line and line[0] == "|")
    assert own.split(" | ")[2] == "–"  # no top-5 error of three classes
    assert text.index("## Comparison with published results") > text.index("## To take away")
    assert "PC-DARTS (High CV Sub-sampled CIFAR100) published" in page
    assert page.index("Comparison with published") > page.index(
        "Commands that write files for other tools"
    )


def decoded(source):
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def shown(folder, name="tiny"):
    run = RunFolder.open(folder / "runs", name)
    store, stages = store_of(run.manifest()), run.manifest()["stages"]
    artifacts = {stage: store.find(stage, key) for stage, key in stages.items()}
    return run.config(), load_datasets(run.config())["data"], artifacts


def test_the_gallery_shows_the_mixes_that_were_scored_with_their_losses(folder):
    config, data, artifacts = shown(folder)
    losses = np.load(artifacts["scores"].path / "losses.npy")
    cv = losses.std(1, ddof=1) / losses.mean(1)
    labels = data.train.labels.numpy()
    made = gallery(config, data, artifacts)
    assert made.note == ""
    assert len(made.strips) == 6
    for strip in made.strips:
        index = int(strip.image.caption.removeprefix("no. "))
        own = cv[labels == labels[index]]
        assert cv[index] == (own.max() if strip.which == "highest" else own.min())
        assert strip.class_name == data.classes[labels[index]]
        captions = [float(tile.caption) for tile in strip.mixes]
        expected = np.sort(losses[index])[[0, 1, 3, 4, 6, 7]]  # of 8, evenly
        assert captions == pytest.approx(expected, abs=0.0051)
        image = data.train.images[index].permute(1, 2, 0).numpy()
        assert (decoded(strip.image.source) == image).all()
        for tile in strip.mixes:
            same = (decoded(tile.source) == image).all(2).mean()
            # The anchor keeps 5/9 of the pixels, up to the rounding of boxes.
            assert 0.4 < same < 0.75


def test_the_gallery_names_the_classes_it_shows(folder, monkeypatch):
    config, data, artifacts = shown(folder)
    first, _, last = data.classes
    assert f"Shown are all classes: {', '.join(data.classes)}." in read(folder, "tiny").text
    monkeypatch.setattr("pipeline.reports.gallery.MOST_CLASSES", 2)
    made = gallery(config, data, artifacts)
    assert made.classes == f"2 of the 3 classes: {first}, {last}"
    assert {strip.class_name for strip in made.strips} == {first, last}


def test_mixes_whose_losses_come_out_otherwise_are_not_shown(folder, tmp_path):
    config, data, artifacts = shown(folder)
    other = tmp_path / "scores"
    shutil.copytree(artifacts["scores"].path, other)
    np.save(other / "losses.npy", np.load(other / "losses.npy")[:, ::-1] + np.float32(0.5))
    path = artifacts["scores"].path
    object.__setattr__(artifacts["scores"], "path", other)
    made = gallery(config, data, artifacts)
    object.__setattr__(artifacts["scores"], "path", path)
    assert "omitted" in made.note
    assert all(strip.mixes == [] for strip in made.strips)
    assert len(made.strips) == 6


def test_without_scores_there_is_no_gallery(folder):
    assert "images of a few classes" not in read(folder, "chance").text
    assert not read(folder, "chance").of("img")


def test_several_runs_stand_side_by_side(folder):
    page = read(folder, "comparison")
    results = [
        json.loads((folder / "runs" / name / "report" / "results.json").read_text())
        for name in ("tiny", "chance")
    ]
    for result in results:
        assert f"{result['accuracy']['top1_error_last']:.2f}" in page.text
        assert f"{result['network']['parameters']:,}" in page.text
    assert "1 · tiny2 · chance" in page.text
    assert "subset.measurecvrandom" in page.text
    costs, *cells = page.descriptions
    assert costs.startswith("run 1, high-CV: ")
    assert "run 2, random: " in costs
    assert [words.split(".")[0] for words in cells] == ["Normal cell"] * 2


def test_a_page_is_written_over_but_nothing_else_is(folder, tmp_path, capsys):
    page, notes = tmp_path / "page.html", tmp_path / "notes.html"
    notes.write_text("mine")
    assert command(folder, "report", "tiny", "chance", "-o", str(page)) == 0
    assert command(folder, "report", "chance", "tiny", "-o", str(page)) == 0
    assert "1 · chance" in page.read_text()
    capsys.readouterr()
    assert command(folder, "report", "tiny", "chance", "-o", str(notes)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert notes.read_text() == "mine"
    assert command(folder, "report", "tiny", "chance", "-o", str(notes), "--overwrite") == 0
    assert "1 · tiny" in notes.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny", "trained"], "trained a classifier and has no search"),
        (["tiny", "nowhere"], "no run called 'nowhere'"),
        (["tiny", "chance", "-o", "page.txt"], "ends in .html"),
        (["tiny", "-o", "page.html"], "found with one run"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(folder, capsys, arguments, said):
    assert command(folder, "report", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_page_is_written_again_with_the_same_bytes(folder):
    before = page_of(folder, "tiny").read_bytes()
    page_of(folder, "tiny").unlink()
    assert command(folder, "report", "tiny") == 0
    assert page_of(folder, "tiny").read_bytes() == before


def colours(text):
    """The custom properties of the light and of the dark scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    return [dict(re.findall(r"--([\w-]+): (#\w{6})", scheme)) for scheme in (light, dark)]


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    low, high = sorted(luminance(each) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_text_and_lines_stand_out_in_both_schemes():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    style = Path(__file__).parents[3] / "pipeline" / "reports" / "templates" / "page.css"
    for scheme in colours(style.read_text()):
        for text in ("ink", "muted", "accent"):
            for ground in ("ground", "panel"):
                assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
        for ground in ("warn", "node", "end"):
            assert contrast(scheme["ink"], scheme[ground]) >= 4.5
        for slot in range(6):
            assert contrast(scheme[f"s{slot}"], scheme["panel"]) >= 3, slot
            assert contrast(scheme[f"s{slot}"], scheme["band"]) >= 3, slot


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1400])
def test_a_page_fits_a_phone_and_a_desk(folder, browser, name, width):
    check_fits(browser, page_of(folder, name), width)


def test_dark_is_dark_and_print_is_light(folder, browser):
    page = browser.new_page(color_scheme="dark")
    page.goto(page_of(folder, "tiny").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    figure = "getComputedStyle(document.querySelector('figure path')).fill"
    assert page.evaluate(ground) == "rgb(20, 24, 29)"
    assert page.evaluate(figure) == "rgb(28, 33, 40)"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(media="screen", color_scheme="light")
    assert page.evaluate(ground) == "rgb(250, 249, 246)"
    assert page.evaluate(figure) == "rgb(255, 255, 255)"
    page.close()
