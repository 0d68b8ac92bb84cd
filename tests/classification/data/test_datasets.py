import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from pydantic import ValidationError
from sklearn.datasets import load_digits

from classification.data.datasets import (
    DataConfig,
    ImageDataset,
    load_dataset,
    split_digits,
)
from classification.data.loaders import ImageSet
from classification.data.strata import split_validation
from classification.data.transforms import Normalization
from classification.errors import ConfigError, DataError
from classification.seeding import make_generator

# Digits


def test_every_fifth_digit_of_each_class_is_a_test_image() -> None:
    data = load_dataset(DataConfig(kind="digits"))
    # scikit-learn documents 178, 182, 177, 183, 181, 182, 181, 179, 174 and 180 scans a class.
    assert data.train.labels.bincount().tolist() == [
        143,
        146,
        142,
        147,
        145,
        146,
        145,
        144,
        140,
        144,
    ]
    assert data.test.labels.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]


def test_digits_are_those_that_scikit_learn_loads() -> None:
    expected = load_digits()
    data = load_dataset(DataConfig(kind="digits"))
    order = torch.cat(split_digits(torch.from_numpy(expected.target)))
    images = torch.cat([data.train.images, data.test.images]).double() * (16 / 255)
    found = images.round()[:, 0].numpy()
    assert np.array_equal(found, expected.images[order])
    labels = torch.cat([data.train.labels, data.test.labels])
    assert np.array_equal(labels.numpy(), expected.target[order])


def test_digits_are_gray_images_of_the_full_range() -> None:
    data = load_dataset(DataConfig(kind="digits"))
    images = data.train.images
    assert images.shape == (1442, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    # The first scan is a zero whose first row is 0 0 5 13 9 1 0 0, in sixteenths.
    assert images[0, 2, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert (data.classes, data.name) == (tuple("0123456789"), "digits")


def test_digits_are_padded_by_a_pixel_and_never_mirrored() -> None:
    augmentation = load_dataset(DataConfig(kind="digits")).augmentation(cutout=4)
    assert (augmentation.crop_padding, augmentation.flip, augmentation.cutout) == (1, False, 4)


def test_image_size_enlarges_bilinearly() -> None:
    small = load_dataset(DataConfig(kind="digits")).train.images[:5]
    large = load_dataset(DataConfig(kind="digits", image_size=16)).train.images[:5]
    expected = torch.nn.functional.interpolate(small.float(), scale_factor=2, mode="bilinear")
    assert (large.float() - expected).abs().max() <= 1


def test_first_classes_and_images_are_taken_and_test_stays_whole() -> None:
    whole = load_dataset(DataConfig(kind="digits"))
    data = load_dataset(DataConfig(kind="digits", classes=3, images_per_class=4))
    assert data.classes == ("0", "1", "2")
    assert data.train.labels.bincount().tolist() == [4, 4, 4]
    assert data.test.labels.bincount().tolist() == [35, 36, 35]
    for label in range(3):
        ours = data.train.images[data.train.labels == label]
        assert torch.equal(ours, whole.train.images[whole.train.labels == label][:4])
    assert torch.equal(
        data.train.images[data.train.labels == 2], whole.train.images[whole.train.labels == 2][:4]
    )


# CIFAR


def store_cifar100(
    root: Path, monkeypatch: pytest.MonkeyPatch, labels: list[int], classes: tuple[str, ...]
) -> None:
    """CIFAR-100 in the format of 2009, both splits of these labels, known to torchvision."""
    kind = torchvision.datasets.CIFAR100
    folder = root / kind.base_folder
    folder.mkdir()

    def store(name: str, content: Any) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    # [N, 3072]: image, channel
    pixels = np.arange(len(labels))[:, None] * 10 + np.repeat([0, 1, 2], 1024)
    split = {"data": pixels.astype(np.uint8), "fine_labels": labels}
    names = {"fine_label_names": list(classes)}
    monkeypatch.setattr(kind, "train_list", [["train", store("train", split)]])
    monkeypatch.setattr(kind, "test_list", [["test", store("test", split)]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": store("meta", names)})


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of two images."""
    store_cifar100(tmp_path, monkeypatch, [1, 0, 1, 0], ("apple", "fish"))
    return tmp_path


def test_cifar_is_read_in_its_own_order(cifar_root: Path) -> None:
    data = load_dataset(DataConfig(kind="cifar100", root=cifar_root), download=False)
    assert data.train.images.shape == (4, 3, 32, 32)
    assert data.train.images[:, :, 0, 0].tolist() == [
        [0, 1, 2],
        [10, 11, 12],
        [20, 21, 22],
        [30, 31, 32],
    ]
    assert data.train.labels.tolist() == [1, 0, 1, 0]
    assert (data.classes, data.name) == (("apple", "fish"), "cifar100")
    assert (data.crop_padding, data.flip) == (4, True)


def test_more_classes_than_cifar_has_are_refused(cifar_root: Path) -> None:
    config = DataConfig(kind="cifar100", root=cifar_root, classes=3)
    with pytest.raises(
        ConfigError, match=r"target\.classes: found 3, allowed: at most cifar100's 2"
    ):
        load_dataset(config, key="target", download=False)


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_absent_cifar_is_one_line_naming_the_key(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^target\.root: {kind} is not in {tmp_path}") as caught:
        load_dataset(DataConfig(kind=kind, root=tmp_path), key="target", download=False)
    assert "\n" not in str(caught.value)


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: Any) -> None:
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", unreachable)
    with pytest.raises(DataError, match=r"cannot be fetched \(.*Name or service not known"):
        load_dataset(DataConfig(kind="cifar10", root=tmp_path))


# What a dataset offers


def _striped(classes: tuple[str, ...] = ("ant", "bee")) -> ImageDataset:
    """Training images 0, 1, 2, 3 of values 0, 10, 20, 30 and one test image, all 2×2."""
    values = torch.tensor([0, 10, 20, 30], dtype=torch.uint8)
    train = ImageSet(values.view(4, 1, 1, 1).repeat(1, 3, 2, 2), torch.tensor([0, 0, 1, 1]))
    return ImageDataset(
        "stripes",
        classes,
        train,
        train.take(torch.tensor([3])),
        Normalization.of(train.images),
        4,
        True,
    )


def test_content_hash_follows_pixels_labels_order_and_names() -> None:
    data = _striped()
    brighter = ImageSet(data.train.images + 1, data.train.labels)
    relabelled = ImageSet(data.train.images, 1 - data.train.labels)
    others = [
        replace(data, train=brighter),
        replace(data, test=brighter),
        replace(data, train=relabelled),
        replace(data, train=data.train.take(torch.tensor([1, 0, 2, 3]))),
        replace(data, train=ImageSet(data.train.images.reshape(4, 3, 1, 4), data.train.labels)),
        _striped(classes=("ant", "cat")),
    ]
    assert len({data.content_hash, *(other.content_hash for other in others)}) == 7
    assert len(data.content_hash) == 64


def test_content_hash_ignores_what_is_not_content() -> None:
    data = _striped()
    assert replace(data, name="other", flip=False).content_hash == data.content_hash
    assert replace(data, train=data.train.to("cpu")).content_hash == data.content_hash


def test_take_keeps_the_order_asked_for() -> None:
    taken = _striped().train.take(torch.tensor([3, 0]))
    assert (taken.labels.tolist(), taken.images[:, 0, 0, 0].tolist()) == ([1, 0], [30, 0])
    assert len(taken) == 2


def test_a_dataset_knows_its_classes_and_size() -> None:
    assert (_striped().num_classes, _striped().image_size) == (2, 2)


def test_augmentation_settings_override_what_suits_the_kind() -> None:
    assert not DataConfig(kind="digits").augmentation.flip
    config = DataConfig(kind="digits", crop_padding=3, flip=True)
    assert (config.augmentation.crop_padding, config.augmentation.flip) == (3, True)
    data = load_dataset(config)
    assert (data.crop_padding, data.flip) == (3, True)


def test_lighting_is_part_of_the_augmentation() -> None:
    config = DataConfig(kind="digits", lighting=0.1)
    assert config.augmentation.lighting == 0.1
    assert load_dataset(config).augmentation().lighting == 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "mnist"},
        {"kind": "folder"},
        {"kind": "digits", "image_size": 7},
        {"kind": "digits", "image_size": 1025},
        {"kind": "digits", "classes": 1},
        {"kind": "digits", "images_per_class": 1},
        {"kind": "digits", "crop_padding": -1},
        {"kind": "digits", "size": 8},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DataConfig(**settings)


# The validation part


def test_validation_takes_its_share_of_every_class() -> None:
    labels = torch.tensor([0] * 20 + [1] * 10 + [2] * 2)[torch.randperm(32)]
    train, validation = split_validation(labels, 0.2, make_generator(0, "validation"))
    assert labels[validation].bincount().tolist() == [4, 2, 1]
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(32))


def test_validation_follows_its_generator() -> None:
    labels = torch.arange(100) % 5
    one, again, other = (
        split_validation(labels, 0.3, make_generator(seed, "validation"))[1] for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_validation_leaves_every_class_a_training_image() -> None:
    with pytest.raises(DataError, match="holds out all of the 1 images of class 1;"):
        split_validation(torch.tensor([0, 0, 1]), 0.1, make_generator(0, "validation"))
