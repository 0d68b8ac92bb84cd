import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from classification import extras
from classification.errors import ConfigError
from pipeline import tracking
from pipeline.tracking import Tracker
from run_pipeline import main
from tests.tiny import TINY

EVERYTHING = ("scalars", "tensors", "histograms", "images")


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance=dict.fromkeys(EVERYTHING, 0))
    accumulator.Reload()
    return accumulator


def run(folder):
    (folder / "tiny.yaml").write_text(TINY)
    places = ["--runs", str(folder / "runs"), "--artifacts", str(folder / "artifacts")]
    arguments = ["run", str(folder / "tiny.yaml"), "--device", "cpu", "--tensorboard", *places]
    assert main(arguments) == 0
    return folder / "runs" / "tiny"


def test_curves_are_the_metrics_and_are_written_once_however_often_the_run_is(tmp_path):
    for _ in range(2):  # the second reuses all artifacts
        folder = run(tmp_path)
    for stage in ("scorer", "search", "retrain"):
        (metrics,) = (tmp_path / "artifacts" / stage).glob("*/metrics.jsonl")
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        curve = events(folder / "tensorboard" / stage).Scalars("loss")
        assert [(point.step, point.value) for point in curve] == [
            (row["epoch"], pytest.approx(row["loss"])) for row in rows
        ]
    search = events(folder / "tensorboard" / "search")
    assert [each.step for each in search.Histograms("alphas/normal")] == [1, 2]
    assert [each.step for each in search.Tensors("genotype/text_summary")] == [1, 2]
    pictures = events(folder / "tensorboard" / "report").Tags()["images"]
    assert pictures == [path.stem for path in sorted((folder / "report").glob("*.png"))]
    assert {"cells", "gallery"} <= set(pictures)


def test_rows_are_written_as_they_come(tmp_path):
    tracker = Tracker(tmp_path / "events")
    for epoch in (1, 2):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": epoch, "loss": 1 / epoch}) + "\n")
        tracker.watch("scorer", tmp_path)
        tracker.watch("scorer", tmp_path)
        assert [p.step for p in events(tmp_path / "events" / "scorer").Scalars("loss")] == list(
            range(1, epoch + 1)
        )


def test_without_tensorboard_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    with pytest.raises(ConfigError, match=r"--tensorboard: needs tensorboard"):
        tracking.check_tensorboard()
