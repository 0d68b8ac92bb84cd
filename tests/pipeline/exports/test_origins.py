"""Where training images stand in the whole, told by torchvision's and scikit-learn's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
from pipeline.exports.subset import find_origins
from tests.classification.data.test_datasets import store_cifar100

RESTRICTIONS = [{}, {"classes": 2}, {"images_per_class": 3}, {"classes": 2, "images_per_class": 3}]


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_digits_are_found_among_all_scans(restriction: dict[str, int]) -> None:
    config = DataConfig(kind="digits", **restriction)
    scans = torch.from_numpy(load_digits().images[find_origins(config).indices])
    pixels = load_dataset(config).train.images[:, 0]  # type: ignore[attr-defined]
    torch.testing.assert_close(pixels, (scans * 255 / 16).round().byte())


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_cifar_is_found_in_torchvisions_train_split(
    restriction: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [2, 0, 1, 1, 0, 2, 0, 1, 0, 2, 0, 1]
    store_cifar100(tmp_path, monkeypatch, labels, ("ant", "bee", "cat"))
    config = DataConfig(kind="cifar100", root=tmp_path, **restriction)
    whole = torchvision.datasets.CIFAR100(tmp_path, train=True)
    train = load_dataset(config, download=False).train
    indices = find_origins(config).indices.tolist()
    assert len(indices) == len(train)
    for place, index in enumerate(indices):
        image, label = whole[index]
        assert label == train.labels[place]
        assert np.array_equal(
            np.asarray(image).transpose(2, 0, 1),
            train.images[place].numpy(),  # type: ignore[attr-defined]
        )


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_a_folders_images_are_found_in_torchvisions_order(
    restriction: dict[str, int], tmp_path: Path
) -> None:
    for split, name, count in (("train", "ant", 5), ("train", "bee", 4), ("train", "cat", 6)):
        write_images(tmp_path / split / name, count)
        write_images(tmp_path / "val" / name, 1)
    config = DataConfig(kind="folder", root=tmp_path, **restriction)
    origins = find_origins(config)
    assert origins.files is not None
    whole = torchvision.datasets.ImageFolder(tmp_path / "train")
    assert [whole.samples[i][0] for i in origins.indices] == list(map(str, origins.files.paths))
    assert torch.equal(origins.files.labels, load_dataset(config).train.labels)
    assert len(origins.indices) == len(load_dataset(config).train)


@pytest.mark.parametrize("classes_are_in", ["train", "root"])
def test_indices_are_torchvisions_among_nested_foreign_and_other_files(
    classes_are_in: str, tmp_path: Path
) -> None:
    """torchvision looks into folders within a class, and leaves out formats that Pillow reads."""
    source = tmp_path / "train" if classes_are_in == "train" else tmp_path
    for name in ("ant", "bee"):
        write_images(source / name, 4)
        write_images(source / name / "0more", 2)  # comes before or between the others
        (source / name / "1.txt").write_text("no image")
        Image.new("RGB", (8, 8)).save(source / name / "2.gif")
    (source / "empty").mkdir()
    if classes_are_in == "train":
        (source / "empty").rmdir()
    config = DataConfig(kind="folder", root=tmp_path, hold_out=0.2)
    origins = find_origins(config)
    assert origins.files is not None
    assert origins.folder == source
    whole = torchvision.datasets.ImageFolder(source, allow_empty=True)
    indices = origins.indices.tolist()
    assert len(indices) == len(load_dataset(config).train) == 8
    for index, path in zip(indices, origins.files.paths, strict=True):
        assert whole.samples[index][0] == str(path) if path.suffix == ".png" else index == -1


def test_links_are_followed_to_where_images_come_from(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", 3)
    for split in ("train", "val"):
        write_images(tmp_path / "pets" / split / "ant", 3)
        (tmp_path / "pets" / split / "bee").symlink_to(tmp_path / "elsewhere")
    config = DataConfig(kind="folder", root=tmp_path / "pets", follow_links=True)
    assert find_origins(config).indices.tolist() == [0, 1, 2, 3, 4, 5]


def write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (8, 8), (10 * index, 0, 0)).save(folder / f"{index}.png")
