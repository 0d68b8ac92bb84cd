"""What a survey finds, and what it says of folders that no loader reads."""

import shutil

import pytest
from PIL import Image

from classification.data.config import DataConfig
from classification.data.folder_survey import survey_folder
from classification.data.folders import list_images
from classification.errors import DataError


def save(path, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 3 and 2 training images and one of each held out."""
    root = tmp_path / "photos"
    for split, counts in (("train", (3, 2)), ("test", (1, 1))):
        for name, count in zip(("ant", "bee"), counts, strict=True):
            for index in range(count):
                save(root / split / name / f"{index}.png")
    return root


def test_counts_sizes_and_colours(folder):
    save(folder / "train" / "bee" / "wide.png", (40, 20))
    found = survey_folder(folder)
    assert found.classes == ("ant", "bee")
    assert (found.train_counts, found.test_counts) == ((3, 3), (1, 1))
    assert (found.train_images, found.test_images) == (6, 2)
    assert found.sides == (8,) * 7 + (20,)
    assert found.side(0.5) == 8
    assert found.side(1.0) == 20
    assert found.sizes == {(8, 8), (40, 20)}
    assert found.train.whole
    assert not found.gray


def test_grayscale_is_what_has_no_colours_at_all(folder):
    for path in folder.rglob("*.png"):
        save(path, mode="L")
    assert survey_folder(folder).gray
    save(folder / "test" / "ant" / "colour.png")
    assert not survey_folder(folder).gray


def test_a_sample_of_headers_is_spread_over_each_split(folder):
    for index in range(20):
        save(folder / "train" / "bee" / f"b{index:02}.png", (16, 16))
    found = survey_folder(folder, sampled=2)  # of train the first and the last
    assert not found.train.whole
    assert found.sides == (8, 8, 8, 16)


def test_images_are_turned_upright_if_any_has_an_exif_orientation(folder):
    assert not survey_folder(folder).config.exif_orientation
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.new("RGB", (8, 8)).save(folder / "test" / "bee" / "camera.jpg", exif=exif)
    found = survey_folder(folder)
    assert found.config.exif_orientation
    assert any("1 image with an EXIF orientation, turned upright" in line for line in found.notes())


def test_folders_beside_the_splits_are_named(folder):
    save(folder / "unlabelled" / "1.png")
    assert "passed over: unlabelled/" in survey_folder(folder).notes()


def test_a_flat_val_is_read_by_the_file_that_names_its_classes(folder):
    shutil.rmtree(folder / "test")
    for index in range(2):
        save(folder / "val" / "images" / f"{index}.png")
    (folder / "val" / "val_annotations.txt").write_text("0.png\tant\n1.png\tbee\n")
    found = survey_folder(folder)
    assert str(found.folder.layout.val_labels) == "val/val_annotations.txt"
    assert found.test_counts == (1, 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: shutil.rmtree(root), "no folder"),
        (
            lambda root: shutil.rmtree(root / "test"),
            "found 2 images, allowed: at least 3",
        ),
        (lambda root: root.rename(root.parent / "in") and root.mkdir(), "found nothing"),
        (lambda root: save(root / "train" / "loose.png"), "found images beside its class folders"),
        (lambda root: save(root / "bee" / "0.png"), "found class folders (bee) beside train"),
        (lambda root: (root / "train" / "ant" / "2.png").unlink(), None),
        (lambda root: (root / "train" / "bee" / "1.png").unlink(), "found 1 images"),
        (lambda root: (root / "test" / "bee" / "0.png").unlink(), "found 0 images"),
        (lambda root: (root / "test" / "bee" / "0.png").write_bytes(b"text"), "unreadable"),
        (lambda root: shutil.rmtree(root / "test" / "bee"), "test: found 1 class folders"),
    ],
)
def test_a_folder_that_no_loader_reads_is_told_what_to_change(folder, change, expected):
    change(folder)
    if expected is None:
        assert survey_folder(folder).train_counts == (2, 2)
        return
    with pytest.raises(DataError) as refusal:
        survey_folder(folder)
    assert expected in str(refusal.value)
    assert "allowed: " in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_tree_without_a_split_and_a_folder_around_one_are_told_so(folder):
    with pytest.raises(DataError, match=r"class folders \(ant, bee\) and no held-out images"):
        list_images(DataConfig(kind="folder", root=folder / "train"))
    with pytest.raises(DataError, match=r"did you mean .*photos\?"):
        survey_folder(folder.parent)
