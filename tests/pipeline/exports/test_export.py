"""The export command: what it refuses, and that it costs nothing that stood there."""

import json
import runpy
import shutil
from pathlib import Path

import pytest

from classification import extras
from classification.errors import ArtifactError
from pcdarts.genotype import Genotype
from pipeline.exports.destination import published
from pipeline.exports.genotype import dot_form
from run_pipeline import main
from tests.pipeline.exports.test_origins import write_images

TINY = """
name: tiny
data:    {kind: digits, classes: 3, images_per_class: 24}
scorer:  {model: resnet8, epochs: 1, batch_size: 16, mixing: {kind: none}}
scores:  {draws: 2}
subset:  {measure: cv, fraction: 0.5}
search:  {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
retrain: {channels: 4, cells: 3, epochs: 1, batch_size: 32}
"""


class Place:
    """A folder for a config, its runs and their artifacts."""

    def __init__(self, folder: Path, config: str = TINY) -> None:
        self.folder, self.config = folder, folder / "tiny.yaml"
        self.config.write_text(config)
        self.places = ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]

    def run(self, *arguments: str) -> int:
        return main(["run", str(self.config), *arguments, *self.places, "--device", "cpu"])

    def export(self, form: str, output: Path, *options: str, run: str = "tiny") -> int:
        return main(["export", run, "--as", form, "-o", str(output), *options, *self.places])

    def made(self, stage: str, name: str, run: str = "tiny") -> Path:
        manifest = json.loads((self.folder / "runs" / run / "manifest.json").read_text())
        return self.folder / "artifacts" / stage / manifest["stages"][stage] / name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that has come as far as its search, and one whose goal is a classifier."""
    place = Place(tmp_path_factory.mktemp("export"))
    assert place.run("--until", "search") == 0
    assert place.run("--set", "goal=classifier", "--name", "classifier", "--until", "scorer") == 0
    given = ("--set", "genotype=darts_v2", "--name", "given", "--until", "genotype")
    assert place.run(*given) == 0
    return place


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_a_genotypes_files_hold_what_the_search_found(place: Place, tmp_path: Path) -> None:
    assert place.export("genotype", tmp_path / "out") == 0
    found = Genotype.load(place.made("search", "genotype.json"))
    assert Genotype.load(tmp_path / "out" / "genotype.json") == found
    assert (tmp_path / "out" / "genotype.dot").read_text(encoding="utf-8") == dot_form(found)
    theirs = runpy.run_path(str(tmp_path / "out" / "genotypes.py"))["TINY"]
    assert theirs.normal == [tuple(edge) for node in found.normal for edge in node]
    assert theirs.reduce == [tuple(edge) for node in found.reduce for edge in node]


@pytest.mark.parametrize("form", ["onnx", "safetensors", "timm", "hub"])
def test_a_run_without_its_network_yet_is_refused(
    form: str, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.export(form, tmp_path / "out.onnx") == 2
    message = refusal(capsys)
    assert "tiny: the run has no retrain yet; resume with: python run_pipeline.py run" in message
    assert f"--runs {place.folder / 'runs'} --artifacts {place.folder / 'artifacts'}" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tinny", "--as", "genotype"), "no run called 'tinny'"),
        (
            ("tiny", "--as", "onxx"),
            "--as: found 'onxx'; did you mean onnx? allowed: subset, genotype, onnx, safetensors, "
            "timm, hub",
        ),
        (("tiny", "--as", "onnx"), "-o: found 'OUT'; allowed: a name that ends in .onnx"),
        (
            ("classifier", "--as", "genotype"),
            "--as: classifier does not make it, because its goal is a classifier; allowed: onnx, "
            "safetensors, timm, hub",
        ),
        (
            ("given", "--as", "subset"),
            "--as: given does not make it, because its genotype is given and not searched; "
            "allowed: genotype, onnx, safetensors, timm, hub",
        ),
        (("tiny", "--as", "timm", "--opset", "18"), "--opset: found with --as timm; allowed: "),
        (("tiny", "--as", "onnx", "--opset", "17"), "--opset: found 17; allowed: 18 to 25"),
        (("tiny", "--as", "onnx", "--opset", "26"), "--opset: found 26; allowed: 18 to 25"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", *arguments, "-o", str(tmp_path / "out"), *place.places]) == 2
    assert message.replace("OUT", str(tmp_path / "out")) in refusal(capsys)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_replaced_only_if_asked_and_only_an_export(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert place.export("genotype", output) == 0
    (output / "genotype.json").write_text("older")
    capsys.readouterr()
    assert place.export("genotype", output) == 2
    assert f"-o: {output} exists; choose another path, or add --overwrite" in refusal(capsys)
    assert (output / "genotype.json").read_text() == "older"
    (output / "thesis.tex").write_text("years of work")
    assert place.export("genotype", output, "--overwrite") == 2
    assert f"-o: {output} contains thesis.tex, which is not part of such an export" in refusal(
        capsys
    )
    assert (output / "genotype.json").read_text() == "older"
    (output / "thesis.tex").unlink()
    assert place.export("genotype", output, "--overwrite") == 0
    assert json.loads((output / "genotype.json").read_text()).keys() == {"normal", "reduce"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_not_taken_for_a_folder(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert place.export("genotype", tmp_path / "out", "--overwrite") == 2
    assert "is not a folder, which would be written" in refusal(capsys)
    assert place.export("genotype", tmp_path / "out" / "deeper") == 2
    assert f"-o: {tmp_path / 'out'} is not a folder; choose a path outside of it" in refusal(capsys)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_failure_half_way_leaves_what_stood_there(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.export("genotype", tmp_path / "out") == 0
    before = (tmp_path / "out" / "genotypes.py").read_bytes()

    def lost(path: Path, target: Path) -> Path:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lost)
        assert place.export("genotype", tmp_path / "out", "--overwrite") != 0
    assert (tmp_path / "out" / "genotypes.py").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_replacement_that_fails_puts_the_older_one_back(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "kept").write_text("older")
    with pytest.raises(ArtifactError), published(output):
        pass  # nothing was written that could take its place
    assert (output / "kept").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    assert place.export("onnx", tmp_path / "out.onnx") == 2
    assert "--as onnx: needs onnx, which is not installed" in refusal(capsys)


def test_images_that_have_changed_since_the_run_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "images"
    for name in ("ant", "bee"):
        write_images(root / "train" / name, 16)
        write_images(root / "val" / name, 2)
    images = f"{{kind: folder, root: {root}}}"
    place = Place(
        tmp_path, TINY.replace("{kind: digits, classes: 3, images_per_class: 24}", images)
    )
    choice = ("--set", "subset={measure: random, fraction: 1.0}")
    assert place.run(*choice, "--until", "subset") == 0
    shutil.copy(root / "train" / "ant" / "3.png", root / "train" / "bee" / "3.png")
    (root / "train" / "ant" / "4.png").unlink()
    capsys.readouterr()
    assert place.export("subset", tmp_path / "out") == 2
    assert "data: images has changed since the run" in refusal(capsys)
