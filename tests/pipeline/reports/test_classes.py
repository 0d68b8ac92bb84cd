"""The report's section on the classes, of counts by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from classification.config import ClassifierConfig
from evaluate.confusion import CONFUSION, save_confusions
from pipeline.reports.classes import collect_classes, show_classes

NUMBER = 21  # one more than have a row each


@pytest.mark.parametrize(
    ("probes", "title", "images"), [(1, "images", "3"), (2, "images, mean of 2 probes", "1.5")]
)
def test_the_largest_confusions_are_those_of_one_probe(tmp_path, probes, title, images):
    counts = 4 * np.eye(NUMBER, dtype=int)
    counts[0, :2] = 1, 3
    save_confusions(counts, tmp_path / CONFUSION)
    labels = torch.arange(NUMBER)
    data = SimpleNamespace(
        test=range(4 * NUMBER // probes),
        train=SimpleNamespace(labels=labels),
        num_classes=NUMBER,
        evaluated="val",
        classes=[f"c{label}" for label in labels],
    )
    artifact = SimpleNamespace(path=tmp_path)
    found = collect_classes(artifact, data, ClassifierConfig())
    assert found["classifiers"] == probes
    assert found["guessing_error"] == pytest.approx(100 * 20 / 21, abs=1e-4)  # 21 equal classes
    assert (found["interval"] is None) == (probes > 1)  # an error of several probes is a mean
    assert found["test_images"] == [4 / probes] * NUMBER
    expected = {"true": 0, "predicted": 1, "images": 3 / probes, "share": 0.75}
    assert found["largest_confusions"] == [expected]
    tables = show_classes(tmp_path, artifact, found).tables
    assert "val images" in tables["The 10 classes of the highest error"]
    table = tables["The largest confusions"]
    assert (table[title], table["share of the true class (%)"]) == ([images], ["75"])
