from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from classification.data.datasets import DataConfig, load_dataset
from classification.data.folders import list_images
from classification.data.val_labels import read_labels
from classification.errors import DataError

IMAGES = ["v1.JPEG", "v2.JPEG", "v3.JPEG", "v4.JPEG"]
CLASSES = ["n01", "n02", "n10"]
LABELS = [2, 0, 1, 0]


def read(tmp_path: Path, text: str, classes: list[str] = CLASSES) -> list[int]:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    return read_labels(path, IMAGES, classes)


@pytest.mark.parametrize(
    "text",
    [
        # Tiny ImageNet's val_annotations.txt: file, class, box
        "v1.JPEG\tn10\t0\t32\t44\t62\nv2.JPEG\tn01\t0\t0\t9\t9\n"
        "v3.JPEG\tn02\t1\t2\t3\t4\nv4.JPEG\tn01\t1\t2\t3\t4\n",
        # Kaggle's LOC_val_solution.csv: a header, no suffix, several boxes, any order
        "ImageId,PredictionString\nv4,n01 1 2 3 4 n01 5 6 7 8 \nv1,n10 85 1 499 272 \n"
        "v2,n01 1 2 3 4 \nv3,n02 1 2 3 4 \n",
        # Caffe's val.txt: the place of the class
        "v1.JPEG 2\nv2.JPEG 0\nv3.JPEG 1\nv4.JPEG 0\n",
        "\ufeffval/v1.JPEG  n10\r\n\r\nval/v2.JPEG  n01\r\nval/v3.JPEG  n02\r\nval/v4.JPEG  n01",
    ],
)
def test_every_common_form_is_understood(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == LABELS


def test_a_class_called_by_a_number_goes_by_its_name(tmp_path: Path) -> None:
    text = "v1.JPEG 2\nv2.JPEG 1\nv3.JPEG 1\nv4.JPEG 1\n"
    assert read(tmp_path, text, ["1", "2"]) == [1, 0, 0, 0]


def test_names_with_blanks_need_a_tab_or_a_comma(tmp_path: Path) -> None:
    text = "v1.JPEG,polar bear\nv2.JPEG,brown bear\nv3.JPEG\tpolar bear\t1\nv4.JPEG,brown bear\n"
    assert read(tmp_path, text, ["brown bear", "polar bear"]) == [1, 0, 1, 0]


def devkit(tmp_path: Path, numbers: list[int]) -> Path:
    """A ground truth beside a meta.mat as ILSVRC2012's, whose numbers follow no order of names."""
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    rows = [(1, "n10", "c", 0), (2, "n01", "a", 0), (3, "n02", "b", 0), (1001, "n00", "all", 3)]
    savemat(tmp_path / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    path = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{number}\n" for number in numbers))
    return path


def test_the_devkits_ground_truth_goes_by_its_meta(tmp_path: Path) -> None:
    assert read_labels(devkit(tmp_path, [1, 2, 3, 2]), IMAGES, CLASSES) == LABELS


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 3], "found 3 lines, allowed: 4"),
        ([1, 2, 9, 2], "line 3: found 9, .* which is no class"),
        ([1, 2, 1001, 2], "line 3: found 1001, .* n00, which train does not hold"),
        ([1, 2, 2, 2], "names no image of class n02"),
    ],
)
def test_a_wrong_ground_truth_is_named(tmp_path: Path, numbers: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"ground_truth.txt: {message}"):
        read_labels(devkit(tmp_path, numbers), IMAGES, CLASSES)


@pytest.mark.parametrize("content", [None, b"no matlab file", b""])
def test_a_ground_truth_needs_its_meta(tmp_path: Path, content: bytes | None) -> None:
    path = devkit(tmp_path, [1, 2, 3, 2])
    if content is None:
        (tmp_path / "meta.mat").unlink()
    else:
        (tmp_path / "meta.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"meta\.mat: unreadable") as caught:
        read_labels(path, IMAGES, CLASSES)
    assert "\n" not in str(caught.value)


GOOD = "v1.JPEG n10\nv2.JPEG n01\nv3.JPEG n02\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "v4.JPEG n99\n", "line 4: found class 'n99'"),
        (GOOD + "v4.JPEG 3\n", "line 4: found class '3'; .* from 0 to 2"),
        (GOOD + "v4.JPEG\n", "line 4: found class ''"),
        (GOOD + "v9.JPEG n01\n", "line 4: no image 'v9.JPEG'"),
        (GOOD + "v1.JPEG n10\n", "line 4: 'v1.JPEG' again"),
        (GOOD, "no line for v4.JPEG"),
        ("v1.JPEG n01\nv2.JPEG n01\nv3.JPEG n01\nv4.JPEG n02\n", "names no image of class n10"),
        ("", "no line for v1.JPEG"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"labels.txt: {message}") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"v1.JPEG \xff\xfe"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.txt: cannot be read"):
        read_labels(tmp_path / "labels.txt", IMAGES, CLASSES)


# A flat val/ in its tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of two training images; four test images without class folders."""
    for name in CLASSES:
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    (tmp_path / "val").mkdir()
    for value, name in enumerate(IMAGES):
        Image.new("L", (8, 8), 50 * value).save(tmp_path / "val" / name)
    (tmp_path / "labels.txt").write_text(GOOD + "v4.JPEG n01\n")
    return tmp_path


def test_a_flat_val_is_read_by_its_labels(root: Path) -> None:
    config = DataConfig(kind="folder", root=root, val_labels=Path("labels.txt"))
    assert load_dataset(config).test.labels.tolist() == LABELS
    files = load_dataset(
        config.model_copy(update={"storage": "files", "image_size": 32, "workers": 0})
    ).test
    ((images, labels),) = files.loader(4, torch.device("cpu"), False).batches()
    assert images[:, 0, 16, 16].tolist() == [0, 50, 100, 150]
    assert labels.tolist() == LABELS


def test_the_first_classes_of_a_flat_val(root: Path) -> None:
    found = list_images(
        DataConfig(kind="folder", root=root, classes=2, val_labels=Path("labels.txt"))
    )
    assert found.test.labels.tolist() == [0, 1, 0]
    assert [path.name for path in found.test.paths] == ["v2.JPEG", "v3.JPEG", "v4.JPEG"]


@pytest.mark.parametrize("images", ["", "images"])  # as ILSVRC2012 has it, and Tiny ImageNet
def test_a_flat_val_without_labels_says_what_is_missing(root: Path, images: str) -> None:
    if images:
        (root / "val").rename(root / images)
        (root / "val").mkdir()
        (root / images).rename(root / "val" / images)
    with pytest.raises(DataError, match=r"val: found images but no class .*data\.val_labels"):
        list_images(DataConfig(kind="folder", root=root))
    found = list_images(DataConfig(kind="folder", root=root, val_labels=Path("labels.txt")))
    assert found.test.labels.tolist() == LABELS


def test_labels_for_class_folders_are_refused(root: Path) -> None:
    for path in (root / "val").iterdir():
        path.unlink()
    (root / "val" / "n01").mkdir()
    with pytest.raises(DataError, match=r"val: found no images, .* leave out data\.val_labels"):
        list_images(DataConfig(kind="folder", root=root, val_labels=Path("labels.txt")))
