"""A subset loaded elsewhere, by the recipe that is exported with it."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.data.datasets import load_dataset
from pipeline.config import load_config
from subsample.selection import Subset
from tests.classification.data.test_datasets import store_cifar100
from tests.pipeline.exports.test_export import Place
from tests.pipeline.exports.test_origins import write_images

# The recipe leaves its file to be closed by itself, as a person in a notebook does.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

TINY = """
name: tiny
data:    {data}
scorer:  {{model: resnet8, epochs: 1, batch_size: 4, mixing: {{kind: none}}}}
scores:  {{draws: 2}}
subset:  {{measure: cv, fraction: 0.5}}
search:  {{epochs: 1, warmup_epochs: 0, channels: 4, cells: 3, batch_size: 2}}
retrain: {{channels: 4, cells: 3, epochs: 1, batch_size: 4}}
"""
TWO_LISTS = "subset={measure: random, fraction: 0.5, architecture_fraction: 0.25}"


class Exported:
    """A subset in the folder `out` beside the images that the run of `place` had."""

    def __init__(self, folder: Path, data: str, *overrides: str) -> None:
        self.folder, place = folder / "out", Place(folder, TINY.format(data=data))
        settings = [part for override in overrides for part in ("--set", override)]
        assert place.run(*settings, "--until", "subset") == 0
        assert place.export("subset", self.folder) == 0
        self.subset = Subset.load(self.folder / "subset.json")
        assert self.subset == Subset.load(place.made("subset", "subset.json"))
        self.train = load_dataset(load_config(place.config).data, download=False).train
        with (self.folder / "indices.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))

    def load(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What the README's code defines."""
        (code,) = re.findall("```python\n(.*?)```", (self.folder / "README.md").read_text(), re.S)
        names: dict[str, Any] = {}
        monkeypatch.chdir(self.folder)
        exec(code, names)
        return names

    def pixels(self, indices: tuple[int, ...]) -> np.ndarray:
        """The run's own images, uint8 [n, 3, H, W]."""
        return self.train.take(torch.tensor(indices)).images.numpy()  # type: ignore[attr-defined]


def as_pixels(subset: Any) -> np.ndarray:
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image, _ in subset])


def test_a_part_of_cifar_is_found_in_torchvisions_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [2, 0, 1] * 12
    store_cifar100(tmp_path, monkeypatch, labels, ("ant", "bee", "cat"))
    data = f"{{kind: cifar100, root: {tmp_path}, classes: 2, images_per_class: 8}}"
    exported = Exported(tmp_path, data)
    subset = exported.load(monkeypatch)["subset"]
    assert np.array_equal(as_pixels(subset), exported.pixels(exported.subset.indices))
    assert [label for _, label in subset] == [int(row["label"]) for row in exported.rows]
    names = ("ant", "bee")
    assert all(row["class"] == names[int(row["label"])] for row in exported.rows)


def test_both_lists_of_a_folder_are_found_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant", "bee"):
        write_images(tmp_path / "images" / "train" / name, 16)
        write_images(tmp_path / "images" / "val" / name, 2)
    data = f"{{kind: folder, root: {tmp_path / 'images'}, images_per_class: 12}}"
    exported = Exported(tmp_path, data, TWO_LISTS)
    loaded = exported.load(monkeypatch)
    beside = exported.subset.architecture_indices
    assert beside is not None
    assert np.array_equal(as_pixels(loaded["subset"]), exported.pixels(exported.subset.indices))
    assert np.array_equal(as_pixels(loaded["for_architecture"]), exported.pixels(beside))
    files = (exported.folder / "files.txt").read_text().splitlines()
    assert files == [row["file"] for row in exported.rows]
    assert all((tmp_path / "images" / file).is_file() for file in files)


def test_digits_come_with_what_they_were_measured_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = Exported(tmp_path, "{kind: digits, classes: 2, images_per_class: 8}")
    subset = exported.load(monkeypatch)["subset"]
    scans = np.stack([scan.numpy() for scan, _ in subset])
    expected = exported.pixels(exported.subset.indices)[:, 0]
    assert np.array_equal(np.rint(scans * 255 / 16).astype(np.uint8), expected)
    for label in ("0", "1"):
        kept = [row for row in exported.rows if row["label"] == label]
        by_rank = sorted(kept, key=lambda row: int(row["rank"]))
        assert [int(row["rank"]) for row in by_rank] == [1, 2, 3, 4]  # a half of eight
        cvs = [float(row["cv"]) for row in by_rank]
        assert cvs == sorted(cvs, reverse=True)
        for row in kept:
            ratio = float(row["std"]) / float(row["mean"])
            assert float(row["cv"]) == pytest.approx(ratio)


@pytest.mark.parametrize(("measure", "columns"), [("el2n", {"el2n"}), ("random", set())])
def test_places_are_those_of_the_manifest(measure: str, columns: set[str], tmp_path: Path) -> None:
    data = "{kind: digits, classes: 2, images_per_class: 8}"
    exported = Exported(tmp_path, data, f"subset.measure={measure}")
    manifest = json.loads((exported.folder / "subset.json").read_text())
    assert [int(row["place"]) for row in exported.rows] == manifest["indices"]
    assert set(exported.rows[0]) == {"index", "place", "label", "class", "rank"} | columns
    assert all(1 <= int(row["rank"]) <= 4 for row in exported.rows)  # of a half of eight
