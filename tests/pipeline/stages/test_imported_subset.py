"""Runs on a subset, or on scores, that were made elsewhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import open_run
from pipeline.config import load_config
from run_pipeline import main
from tests.pipeline.exports.test_export import TINY, Place, refusal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that has searched on the images of the highest CV, and its exported subset."""
    place = Place(tmp_path_factory.mktemp("imported"), TINY)
    assert place.run("--until", "search") == 0
    assert place.export("subset", place.folder / "subset") == 0
    return place


@pytest.mark.parametrize("file", ["subset.json", "indices.csv", "plain.txt"])
def test_an_exported_subset_gives_the_same_search(file: str, place: Place) -> None:
    path = place.folder / "subset" / file
    if file == "plain.txt":
        kept = json.loads((place.folder / "subset" / "subset.json").read_text())["indices"]
        path.write_text("".join(f"{index}\n" for index in reversed(kept)))
    name = path.stem
    choice = ("--set", f"subset={{indices: {path}}}", "--name", name)
    assert place.run(*choice, "--until", "search") == 0
    for result in ("genotype.json", "metrics.jsonl"):
        ours, theirs = (place.made("search", result, run) for run in ("tiny", name))
        assert ours != theirs
        assert ours.read_bytes() == theirs.read_bytes()
    made = json.loads(place.made("subset", "subset.json", name).read_text())
    assert (made["measure"], made["fraction"], made["scorer"]) == ("imported", 0.5, None)
    manifest = json.loads((place.folder / "runs" / name / "manifest.json").read_text())
    assert set(manifest["stages"]) == {"subset", "search", "retrain"}  # no scorer is paid for


def test_a_copy_of_the_file_is_the_same_subset_and_a_changed_one_is_another(
    place: Place, tmp_path: Path
) -> None:
    from pipeline.stages.subset import settings

    path, copy = place.folder / "subset" / "subset.json", tmp_path / "copy.json"
    shutil.copy(path, copy)
    first, second = (
        settings(load_config(place.config, [f"subset={{indices: {each}}}"]))
        for each in (path, copy)
    )
    assert first.digest == second.digest
    copy.write_text(copy.read_text() + " ")
    changed = settings(load_config(place.config, [f"subset={{indices: {copy}}}"]))
    assert changed.digest != first.digest


def test_scores_are_ranked_in_each_class_and_their_cost_is_unknown(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "scores.npy", np.arange(72.0))
    options = (
        "--set",
        f"scores.file={tmp_path / 'scores.npy'}",
        "--set",
        "subset={fraction: 0.5}",
    )
    assert place.run(*options, "--name", "scored") == 0
    run = open_run("scored", place.folder / "runs", place.folder / "artifacts")
    dataset = run._run.dataset("data", run._run.artifact("subset"))
    labels = dataset.train.labels.numpy()
    expected = [np.flatnonzero(labels == label)[-12:] for label in range(3)]
    assert run.subset.indices.tolist() == sorted(np.concatenate(expected).tolist())
    assert run.scores["score"].tolist() == list(range(72))
    cost = run.results["cost"]
    assert cost["break_even_searches"] is None
    assert cost["break_even_basis"].endswith("at an unknown cost")
    report = (place.folder / "runs" / "scored" / "report" / "report.md").read_text()
    assert "not included: the images were scored or chosen elsewhere, at an unknown cost" in report
    assert f"from {tmp_path / 'scores.npy'}, whose cost is unknown and not included" in report
    capsys.readouterr()
    runs = ["--runs", str(place.folder / "runs")]
    assert main(["report", "scored", "scored", *runs, "-o", str(tmp_path / "both.html")]) == 0
    assert "and an unknown cost elsewhere" in (tmp_path / "both.html").read_text()
    assert place.export("subset", tmp_path / "subset", run="scored") == 0
    head, *rows = (tmp_path / "subset" / "indices.csv").read_text().splitlines()
    assert head == "index,place,label,class,score,rank"
    assert len(rows) == 36
    low = ("--set", "subset={fraction: 0.5, measure: score_low}")
    assert place.run(*options[:2], *low, "--name", "low", "--until", "subset") == 0
    lowest = [np.flatnonzero(labels == label)[:12] for label in range(3)]
    found = open_run("low", place.folder / "runs", place.folder / "artifacts").subset.indices
    assert found.tolist() == sorted(np.concatenate(lowest).tolist())


def test_scores_of_one_value_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, TINY.replace("measure: cv, ", ""))
    np.save(tmp_path / "scores.npy", np.full(72, 3.0))
    assert place.run("--set", f"scores.file={tmp_path / 'scores.npy'}", "--until", "subset") == 0
    line = "warning: all values of class 0 (and of 2 more) are equal: its subset is chosen"
    assert line in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("subset={indices: FILE}", "subset.indices: FILE: line 1: found index '72'; allowed: 0"),
        ("scores.file=FILE", "scores.file: FILE: found 1 values; allowed: 72"),
        (
            "subset={indices: absent.txt}",
            "subset.indices: absent.txt: cannot be read (No such file or directory)",
        ),
        ("subset.indices=FILE", "indices and measure cv are both set; allowed: one of them"),
        ("subset.measure=imported", "measure imported needs indices"),
        ("subset.measure=score", "subset.measure score needs scores.file"),
        (
            "subset={indices: FILE, architecture_fraction: 0.1}",
            "indices and architecture_fraction are both set",
        ),
    ],
)
def test_bad_files_and_settings_are_one_line_and_nothing_is_written(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.txt"
    file.write_text("72\n")
    own = TINY if "subset" in setting else TINY.replace("measure: cv, ", "")
    place = Place(tmp_path, own)
    assert place.run("--set", setting.replace("FILE", str(file))) == 2
    assert message.replace("FILE", str(file)) in refusal(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "tiny.yaml"]


def test_losses_are_not_expected_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path, TINY)  # measure: cv
    assert place.run("--set", "scores.file=any.npy") == 2
    assert "subset.measure cv needs losses; scores.file holds other scores" in refusal(capsys)
