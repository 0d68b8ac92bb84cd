import json

import numpy as np
import pytest

from classification.data.datasets import DataConfig, load_dataset
from run_pipeline import main

CONFIG = """
name: baseline
data: {kind: digits, classes: 3, images_per_class: 40}
scorer: {model: resnet8, epochs: 1, batch_size: 32, mixing: {kind: none}}
subset: {measure: MEASURE, fraction: 0.25, dropout: {passes: 8}}
search: {epochs: 1, warmup_epochs: 0, batch_size: 8, channels: 4, cells: 3}
retrain: {batch_size: 32}
"""


def make_subset(folder, measure, *overrides):
    """Run up to the subset; what the baseline says of the images, and the subset's indices."""
    path = folder / "baseline.yaml"
    path.write_text(CONFIG.replace("MEASURE", measure))
    store = folder / "artifacts"
    places = ["--artifacts", str(store), "--runs", str(folder / "runs"), "--device", "cpu"]
    settings = [part for override in overrides for part in ("--set", override)]
    assert main(["run", str(path), "--until", "subset", *places, *settings]) == 0
    manifest = json.loads((folder / "runs" / "baseline" / "manifest.json").read_text())
    found = {name: store / name / key for name, key in manifest["stages"].items()}
    values = np.load(found["baseline"] / "values.npy")
    subset = json.loads((found["subset"] / "subset.json").read_text())
    return values, subset["indices"]


@pytest.mark.parametrize("measure", ["mc_dropout", "k_center", "el2n"])
def test_the_highest_of_each_class_are_kept(measure, tmp_path):
    values, indices = make_subset(tmp_path, measure)
    assert values.shape == (120,)
    assert values.dtype == np.float32
    assert len(indices) == 30
    data = load_dataset(DataConfig(kind="digits", classes=3, images_per_class=40))
    labels = data.train.labels.numpy()
    for label in range(3):
        members = np.flatnonzero(labels == label)
        highest = members[np.argsort(-values[members], kind="stable")[:10]]
        assert set(highest) == set(indices) & set(members)


def test_one_baseline_serves_every_fraction(tmp_path, capsys):
    _, small = make_subset(tmp_path, "k_center")
    capsys.readouterr()
    _, large = make_subset(tmp_path, "k_center", "subset.fraction=0.5")
    assert "baseline reused" in capsys.readouterr().out
    assert set(small) < set(large)
