"""Folders as people and publishers lay them out, and what is said of them."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
from classification.data.folder_survey import survey_folder
from classification.data.layout import common_name, evaluated_name
from classification.errors import ConfigError, DataError

STORED = pytest.mark.parametrize("storage", ["memory", "files"])
CLASSES = ("ant", "bee")


def paint(folder, count, value=0, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (8, 8), (value, index, 0)).save(folder / f"{index}{suffix}")


def load(root, storage="memory", **settings):
    settings |= {"storage": storage, "workers": 0, "image_size": 8}
    return load_dataset(DataConfig(kind="folder", root=root, **settings))


def sizes(data):
    """How many images of each class are in train and held out."""
    return [split.labels.bincount().tolist() for split in (data.train, data.test)]


def first_notes(data, root):
    """What `init` says of the folder, with which a run begins as well."""
    notes = tuple(survey_folder(root).notes())
    assert data.notes[: len(notes)] == notes
    return notes


@STORED
def test_tiny_imagenet_is_read_as_it_is_distributed(tmp_path, storage):
    for value, name in enumerate(("n01", "n02")):
        paint(tmp_path / "train" / name / "images", 3, value, ".JPEG")
        (tmp_path / "train" / name / f"{name}_boxes.txt").write_text("0.JPEG\t0\t0\t8\t8\n")
    paint(tmp_path / "val" / "images", 3, suffix=".JPEG")
    paint(tmp_path / "test" / "images", 2, suffix=".JPEG")
    rows = ("0.JPEG\tn02\t0\t0\t8\t8", "1.JPEG\tn01\t0\t0\t8\t8", "2.JPEG\tn02\t0\t0\t8\t8")
    (tmp_path / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    for name in ("wnids.txt", "words.txt"):
        (tmp_path / name).write_text("n01\tant\n")
    data = load(tmp_path, storage)
    assert data.classes == ("n01", "n02")
    assert sizes(data) == [[3, 3], [1, 2]]
    assert data.test.labels.tolist() == [1, 0, 1]
    assert first_notes(data, tmp_path) == (
        "train: train/; held out: val/ (classes: val/val_annotations.txt)",
        "passed over: test/",
    )


@pytest.mark.parametrize("held_out", ["val", "valid", "validation", "test", "testing", "Valid"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_the_splits_go_by_the_names_in_use(tmp_path, train, held_out):
    for name in CLASSES:
        paint(tmp_path / train / name, 3)
        paint(tmp_path / held_out / name, 1)
    data = load(tmp_path)
    assert sizes(data) == [[3, 3], [1, 1]]
    assert first_notes(data, tmp_path) == (f"train: {train}/; held out: {held_out}/",)
    assert data.evaluated == ("test" if held_out in ("test", "testing") else "val")


@STORED
def test_valid_beside_a_flat_test_is_the_held_out_split(tmp_path, storage):
    """As Kaggle and Roboflow hand their datasets out."""
    for name in CLASSES:
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "valid" / name, 2)
    paint(tmp_path / "test", 5)
    data = load(tmp_path, storage)
    assert sizes(data) == [[3, 3], [2, 2]]
    assert data.evaluated == "val"
    assert first_notes(data, tmp_path) == (
        "train: train/; held out: valid/",
        "passed over: test/",
    )


def test_a_flat_test_alone_holds_nothing_out_and_says_what_would_do(tmp_path):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 5)
    paint(tmp_path / "test", 5)
    with pytest.raises(DataError, match=r"test: found images but no class folders; .*hold_out"):
        load(tmp_path)
    assert sizes(load(tmp_path, hold_out=0.2)) == [[4, 4], [1, 1]]


# Classes with the names of splits


SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")


def refusal(root, **settings):
    with pytest.raises(DataError) as refused:
        load(root, **settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@STORED
@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("name", ["train", "training", "Train"])
def test_class_folders_may_have_one_named_train(tmp_path, name, inner, storage):
    """CIFAR-100, COCO and Pascal VOC have that class."""
    for value, each in enumerate(("Ant", "bee", name)):
        paint(tmp_path / each / inner, 5, value)
    assert "data.hold_out, the share of each class" in refusal(tmp_path)
    data = load(tmp_path, storage, hold_out=0.2)
    assert data.classes == tuple(sorted(("Ant", "bee", name)))
    assert sizes(data) == [[4, 4, 4], [1, 1, 1]]
    assert first_notes(data, tmp_path) == (
        "train: the class folders; held out: a part of each class",
    )


def test_splits_may_have_classes_named_after_splits(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for name in SPLIT_NAMES:
            paint(tmp_path / split / name, count)
    data = load(tmp_path)
    assert data.classes == tuple(sorted(SPLIT_NAMES))
    assert sizes(data) == [[3] * 7, [1] * 7]
    assert first_notes(data, tmp_path) == ("train: train/; held out: val/",)


def test_a_flat_test_is_no_stray_of_a_class_named_test(tmp_path):
    for name in ("ant", "test"):
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "val" / name, 1)
    paint(tmp_path / "test", 2)
    assert survey_folder(tmp_path).classes == ("ant", "test")


def test_a_flat_train_leaves_the_split_to_training(tmp_path):
    paint(tmp_path / "train", 2)
    for name in CLASSES:
        paint(tmp_path / "training" / name, 3)
        paint(tmp_path / "val" / name, 1)
    data = load(tmp_path)
    assert sizes(data) == [[3, 3], [1, 1]]
    assert first_notes(data, tmp_path)[1] == "passed over: train/"


@pytest.mark.parametrize("name", SPLIT_NAMES[2:])
def test_a_class_that_may_be_a_split_without_labels_is_refused(tmp_path, name):
    root, whole = tmp_path / "photos", tmp_path / "whole"
    for each in (*CLASSES, "train", name):
        paint(root / each, 5)
    for found in (refusal(root), refusal(root, hold_out=0.2)):
        assert f"class folders (ant, bee) beside {name}/, a class or images without label" in found
        assert f"allowed: without {name}/; or, if it is a class, class folders in a folder" in found
    whole.mkdir()  # which is what the line says to do
    root.rename(whole / "train")
    assert len(load(whole, hold_out=0.2).classes) == 4


@pytest.mark.parametrize("flat", [("train",), ("train", "val"), ("train/images", "val/images")])
def test_splits_without_class_folders_are_no_classes(tmp_path, flat):
    for each in flat:
        paint(tmp_path / each, 5)
    found = refusal(tmp_path, hold_out=0.2)
    assert "train: found images outside of class folders; allowed: train/<class>/*" in found


def test_a_train_of_images_and_folders_beside_classes_is_refused(tmp_path):
    for name in CLASSES:
        paint(tmp_path / name, 5)
        paint(tmp_path / "train" / name, 5)
    paint(tmp_path / "train", 5)
    found = refusal(tmp_path, hold_out=0.2)
    assert "train: found images and folders, beside the class folders ant, bee; allowed: " in found
    for name in CLASSES:  # a class with folders of its own
        shutil.rmtree(tmp_path / "train" / name)
    paint(tmp_path / "train" / "thumbnails", 5)
    assert load(tmp_path, hold_out=0.2).classes == ("ant", "bee", "train")


@pytest.mark.parametrize("loose", [0, 2])
def test_a_train_with_loose_images_is_a_split(tmp_path, loose):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "val" / name, 1)
    paint(tmp_path / "train", loose)
    paint(tmp_path / "unlabelled", 2)
    assert sizes(load(tmp_path)) == [[3, 3], [1, 1]]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_of_one_class_is_no_class(tmp_path, split):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "val" / name, 1)
    shutil.rmtree(tmp_path / split / "bee")
    assert f"{split}: found 1 class folders, allowed: at least 2" in refusal(tmp_path)


def test_a_flat_val_may_have_a_folder_beside_its_images(tmp_path):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "test" / name, 1)
    paint(tmp_path / "val", 2)
    (tmp_path / "val" / "annotations").mkdir()
    assert load(tmp_path).evaluated == "test"
    (tmp_path / "val.txt").write_text("0.png ant\n1.png bee\n")
    assert load(tmp_path).evaluated == "val"


def test_a_folder_around_class_folders_is_no_folder_around_splits(tmp_path):
    for name in (*CLASSES, "train"):
        paint(tmp_path / "test" / name, 3)
    assert "did you mean" not in refusal(tmp_path)


# Held-out images of our own


@pytest.fixture(params=["train", "root"])
def without_held_out(request, tmp_path):
    """10, 15 and 40 images of three classes in train/, or in class folders alone."""
    source = tmp_path / "train" if request.param == "train" else tmp_path
    for value, (name, count) in enumerate((("ant", 10), ("bee", 15), ("cat", 40))):
        paint(source / name, count, value)
    return tmp_path


@STORED
def test_a_share_of_each_class_is_held_out(without_held_out, storage):
    with pytest.raises(DataError, match=r"data\.hold_out, the share of each class"):
        load(without_held_out, storage)
    data = load(without_held_out, storage, hold_out=0.2)
    assert sizes(data) == [[8, 12, 32], [2, 3, 8]]
    assert data.notes[0].endswith("held out: a part of each class")
    assert data.evaluated == "held-out"


def names_held_out(root, **settings):
    data = load(root, "files", **({"hold_out": 0.2} | settings))
    train, test = (
        {str(p.relative_to(root)) for p in s.files.paths} for s in (data.train, data.test)
    )
    assert not train & test
    return test


def test_what_is_held_out_depends_on_its_own_seed_alone(without_held_out):
    """Not on the images in memory, the other classes, or how many images are trained on."""
    test = names_held_out(without_held_out)
    assert len(test) == 13
    assert names_held_out(without_held_out, hold_out_seed=1) != test
    assert names_held_out(without_held_out, images_per_class=4) == test
    assert names_held_out(without_held_out, classes=2) == {
        name for name in test if "cat" not in name
    }
    memory = load(without_held_out, hold_out=0.2).test.images[:, 1, 0, 0].tolist()
    assert sorted(memory) == sorted(int(Path(name).stem) for name in test)
    hashes = {load(without_held_out, hold_out=0.2, hold_out_seed=s).content_hash for s in (0, 0, 1)}
    assert len(hashes) == 2


def test_init_offers_a_fifth_of_each_class(without_held_out):
    found = survey_folder(without_held_out)
    assert found.config.hold_out == 0.2
    assert (found.train_counts, found.test_counts) == ((8, 12, 32), (2, 3, 8))
    assert "13 held out of them" in found.describe()


def test_a_share_that_leaves_too_little_of_a_class_is_refused_by_its_name(without_held_out):
    with pytest.raises(DataError, match=r"data\.hold_out: 0\.9 leaves 1 of the 10 images of class"):
        load(without_held_out, hold_out=0.9)


def test_a_share_beside_held_out_images_is_refused(tmp_path):
    for split in ("train", "val"):
        for name in CLASSES:
            paint(tmp_path / split / name, 4)
    with pytest.raises(ConfigError, match=r"data\.hold_out: found 0\.2 beside .*val"):
        load(tmp_path, hold_out=0.2)


# The name of the evaluated images


@pytest.mark.parametrize("held_out", ["Valid", "testing", None])
def test_the_evaluated_images_are_named_as_the_loaded_dataset_names_them(tmp_path, held_out):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 5)
        paint(tmp_path / (held_out or "unlabelled") / name, 1)
    share = None if held_out else 0.2
    config = DataConfig(kind="folder", root=tmp_path, hold_out=share, image_size=8)
    named = {"Valid": "val", "testing": "test", None: "held-out"}[held_out]
    assert evaluated_name(config) == load_dataset(config).evaluated == named
    shutil.rmtree(tmp_path)
    assert evaluated_name(config) == ("evaluated" if held_out else "held-out")


def test_images_that_are_no_folder_are_test_images_and_several_names_have_none_in_common():
    assert evaluated_name(DataConfig(kind="cifar10")) == "test"
    assert common_name(["val", "val"]) == "val"
    assert common_name(["val", "test"]) == "evaluated"


# Images that are alike in a channel


def test_a_constant_channel_is_named_and_its_padding_stays_near(tmp_path):
    """Two bands of a satellite in red and green, blue always 255."""
    values = torch.arange(64).reshape(8, 8) * 4
    for split, count in (("train", 3), ("val", 1)):
        for name in CLASSES:
            for index in range(count):
                path = tmp_path / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                bands = torch.stack([values, values.T, torch.full((8, 8), 255)], -1)
                Image.fromarray(bands.to(torch.uint8).numpy()).save(path)
    data = load(tmp_path)
    assert data.notes[1:] == ("the blue channel is 255 in every training image",)
    assert data.normalization.mean[2] == 1
    assert data.normalization.std[2] == 0.05
    padding = data.normalization(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))
    assert padding.abs().max() <= 20.01
    # A step of 8/255, as attacks take it, is less than a deviation.
    assert 8 / 255 / data.normalization.std[2] < 1
    assert load(tmp_path, "files").normalization.std[2] == 0.225


def test_a_folder_that_was_renamed_is_not_taken_from_an_old_listing(tmp_path):
    for name in CLASSES:
        paint(tmp_path / "train" / name, 3)
        paint(tmp_path / "val" / name, 1)
    load(tmp_path)
    shutil.move(tmp_path / "val", tmp_path / "valid")
    assert sizes(load(tmp_path)) == [[3, 3], [1, 1]]
