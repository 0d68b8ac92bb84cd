"""Subsets and scores from files of other methods: what is read, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.data.config import DataConfig
from classification.data.datasets import ImageDataset, load_dataset
from classification.errors import ArtifactError, ConfigError
from subsample.imported import read_subset, read_values
from tests.pipeline.exports.test_origins import write_images


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    """Six images of each of two classes, the classes in turn: 0 1 0 1 …"""
    digits = load_dataset(DataConfig(kind="digits", classes=2, images_per_class=6))
    order = torch.tensor([i // 2 + 6 * (i % 2) for i in range(12)])
    found = digits.train.take(torch.argsort(digits.train.labels, stable=True)[order])
    assert found.labels.tolist() == [0, 1] * 6
    return replace(digits, train=found)


def write(path: Path, content: str | np.ndarray) -> Path:
    if isinstance(content, str):
        path.write_text(content)
        return path
    with path.open("wb") as file:
        np.save(file, content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "3\n0\n5\n2\n",
        "# by hand\n\n 3 \n0\n5\n2",
        np.array([3, 0, 5, 2]),
        "index,place,label,class\n9,3,1,1\n8,0,0,0\n7,5,1,1\n6,2,0,0\n",
    ],
)
def test_a_list_is_read_in_ascending_order(
    content: Any, data: ImageDataset, tmp_path: Path
) -> None:
    kept, beside = read_subset(write(tmp_path / "list", content), data)
    assert kept.tolist() == [0, 2, 3, 5]
    assert kept.dtype == np.int64
    assert beside is None


def test_a_table_has_both_lists(data: ImageDataset, tmp_path: Path) -> None:
    rows = "".join(f"{i},{'architecture' if i > 3 else 'weights'}\n" for i in (0, 1, 4, 5))
    kept, beside = read_subset(write(tmp_path / "table", "place,trains\n" + rows), data)
    assert (kept.tolist(), beside.tolist()) == ([0, 1], [4, 5])


def test_files_of_a_folder_are_named_by_path(tmp_path: Path) -> None:
    for split, number in (("train", 4), ("val", 1)):
        for name in ("ant", "big bee"):
            write_images(tmp_path / "images" / split / name, number)
    config = DataConfig(kind="folder", root=tmp_path / "images")
    names = ["train/ant/1.png", "./train/ant/3.png", "train/big bee/0.png", "train/big bee/2.png"]
    path = write(tmp_path / "files.txt", "\n".join(names))
    for storage in ({}, {"image_size": 16, "storage": "files"}):
        data = load_dataset(DataConfig.model_validate({**dict(config), **storage}))
        assert read_subset(path, data)[0].tolist() == [1, 3, 4, 6]
    write(path, "train/ant/9.png")
    with pytest.raises(
        ConfigError, match=r"line 1: found 'train/ant/9\.png'; allowed: an index, or a"
    ):
        read_subset(path, data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0\n1\n2\n3\n12\n", "line 5: found index '12'; allowed: 0 to 11"),
        ("0\n1\n2\n3\n99999999999999999999\n", "line 5: found index"),
        (np.array([0, 1, 2, -3]), "found index -3; allowed: 0 to 11"),
        (np.array([0.0, 1.0]), "found float64 in 1 dimensions; allowed: integers in one"),
        (np.array([[0, 1]]), "found int64 in 2 dimensions"),
        ("0\n1\n2\n3\n1\n", "found index 1 twice; allowed: once"),
        ("0\n2\n4\n", "keeps 0 images of class 1; allowed: at least 2, one for each half"),
        ("0\n2\n1\n", "keeps 1 images of class 1; allowed: at least 2"),
        ("", "found no indices"),
        ("a.png\n", "line 1: found 'a.png'; allowed: an index of a training image"),
        ("place,label\n0,0\n1,0\n", "found label '0' for image 1, whose label is 1"),
        ("place,trains\n0,rest\n", "found 'rest' in the column trains"),
        ("place\n0\n1\nx\n", "line 4: found index 'x'"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    content: Any, message: str, data: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        read_subset(write(tmp_path / "list", content), data)
    assert str(tmp_path / "list") in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_a_folder_are_refused(data: ImageDataset, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_subset(path, data)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_values(path, data)
    with pytest.raises(ArtifactError, match="not a subset"):
        read_subset(write(tmp_path / "x.json", "{}"), data)
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(ConfigError, match="not a readable array"):
        read_values(tmp_path / "short.npy", data)


ENTROPIES = [0.5, 2, 1e-3, 0, 4, 5, 6, 7, 8, -9, 10, 11]


@pytest.mark.parametrize(
    "content",
    [
        np.array(ENTROPIES, np.float64),
        "".join(f"{value}\n" for value in ENTROPIES),
        "entropy\n" + "".join(f"{value}\n" for value in ENTROPIES),
        "".join(f"{i} {ENTROPIES[i]} {i % 2}\n" for i in reversed(range(12))),
        "index,entropy,class\n" + "".join(f"{i},{e},{i % 2}\n" for i, e in enumerate(ENTROPIES)),
        "".join(f"{i}\t{value}\n" for i, value in enumerate(ENTROPIES)),
    ],
)
def test_scores_are_one_number_for_each_image(
    content: Any, data: ImageDataset, tmp_path: Path
) -> None:
    found = read_values(write(tmp_path / "scores", content), data)
    np.testing.assert_allclose(found, ENTROPIES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(11), "found 11 values; allowed: 12, one for each training image"),
        ("1\n" * 13, "found 13 values; allowed: 12"),
        ("".join(f"{i} 1\n" for i in range(11)), "found 11 values; allowed: 12"),
        ("1\n" * 11 + "nan\n", "found nan for image 11; allowed: finite numbers"),
        (np.array([np.inf] * 12), "found inf for image 0"),
        (np.array([np.finfo(np.longdouble).max] * 12), "allowed: finite numbers"),
        ("0 1 0\n1 1 0\n", "line 2: found class '0' for image 1, whose class is 1"),
        ("0 1\n0 1\n", "line 2: found index 0 twice"),
        ("0 1\n12 1\n", "line 2: found index '12'; allowed: 0 to 11"),
        ("0 1\n1\n", "line 2: found '1'; allowed: 2 columns"),
        ("1\nhigh\n", "line 2: found 'high'; allowed: 1 column with a number"),
    ],
)
def test_scores_that_do_not_fit_are_refused(
    content: Any, message: str, data: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_values(write(tmp_path / "scores", content), data)
