import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from classification.data import datasets
from classification.data.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import ConfigError, DataError


def _paint(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 2 * value, 3 * value)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes, of three training images and a test image each; red is 10·class + number."""
    root = tmp_path / "pets"
    for label, name in enumerate(["ant", "bee", "cat"]):
        for number in range(3):
            _paint(root / "train" / name / f"{number}.png", 10 * label + number)
        _paint(root / "val" / name / "0.png", 10 * label + 5)
    return root


def _load(root: Path, **settings: Any) -> ImageDataset:
    return load_dataset(DataConfig(kind="folder", root=root, **settings))


def test_folder_comes_in_sorted_order(root: Path) -> None:
    data = _load(root)
    assert data.classes == ("ant", "bee", "cat")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert data.train.images[4, :, 3, 3].tolist() == [11, 22, 33]
    assert data.test.images[:, 0, 0, 0].tolist() == [5, 15, 25]
    assert (data.name, data.num_classes, data.image_size) == ("pets", 3, 8)


def test_normalization_is_that_of_train(root: Path) -> None:
    normalization = _load(root).normalization
    assert normalization.mean == pytest.approx((11 / 255, 22 / 255, 33 / 255))
    # Red: 0 1 2 10 11 12 20 21 22; blue is three times as much, and deviates by more than 0.05.
    assert normalization.std[2] == pytest.approx(3 * (202 / 3) ** 0.5 / 255)


def test_first_classes_and_images_of_a_folder(root: Path) -> None:
    data = _load(root, classes=2, images_per_class=2)
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 10, 11]
    assert data.test.labels.tolist() == [0, 1]
    assert len(_load(root, images_per_class=100).train) == 9


def test_a_test_folder_serves_where_there_is_no_val(root: Path) -> None:
    expected = _load(root).content_hash
    (root / "val").rename(root / "test")
    assert _load(root).content_hash == expected


def test_other_files_are_passed_over(root: Path) -> None:
    (root / "train" / "ant" / "notes.txt").write_text("no image")
    (root / "train" / "ant" / "._0.png").write_text("no image")
    (root / "train" / "ant" / "more.png").mkdir()
    os.mkfifo(root / "train" / "ant" / "pipe.png")
    (root / "train" / ".cache").mkdir()
    assert len(_load(root).train) == 9


@pytest.mark.parametrize("suffix", ["PNG", "jpg", "JPEG", "WebP"])
def test_formats_are_known_whatever_the_case(root: Path, suffix: str) -> None:
    picture = Image.new("RGB", (8, 8), (100, 150, 200))
    picture.save(root / "train" / "ant" / f"3.{suffix}", quality=95)
    pixel = _load(root).train.images[3, :, 4, 4]
    assert (pixel.int() - torch.tensor([100, 150, 200])).abs().max() <= 4


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(root: Path, mode: str) -> None:
    gray = Image.new("L", (8, 8), 255)
    if mode == "I;16":
        picture = Image.fromarray(np.full((8, 8), 65535, dtype=np.uint16))
    else:
        picture = gray.convert(mode)
    options = {"transparency": bytes(256)} if mode == "P" else {}
    picture.save(root / "train" / "ant" / "0.png", **options)
    assert (_load(root).train.images[0] == 255).all()


def test_sixteen_bit_gray_is_scaled_rather_than_clipped(root: Path) -> None:
    array = np.full((8, 8), 128 << 8, dtype=np.uint16)
    Image.fromarray(array).save(root / "train" / "ant" / "0.png")
    assert (_load(root).train.images[0] == 128).all()


def test_the_middle_of_an_oblong_image_is_kept(root: Path) -> None:
    array = np.zeros((16, 64, 3), dtype=np.uint8)
    array[:, 24:40] = 200  # the middle square; its neighbours differ
    Image.fromarray(array).save(root / "train" / "ant" / "0.png")
    image = _load(root, image_size=8).train.images[0]
    assert image.shape == (3, 8, 8)
    assert (image[:, :, 1:-1] == 200).all()


def test_large_jpegs_are_shrunk_to_size(root: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 512).astype(np.uint8), (256, 1))
    Image.fromarray(ramp).save(root / "train" / "ant" / "0.jpg")
    image = _load(root, image_size=16).train.images[0, 0].float()
    expected = 64 + 128 * (torch.arange(16) + 0.5) / 16  # the middle half of the ramp
    assert (image - expected).abs().max() < 4


def test_mixed_sizes_need_an_image_size(root: Path) -> None:
    _paint(root / "train" / "bee" / "1.png", 7, size=(8, 9))
    with pytest.raises(DataError, match=r"bee/1\.png: found 8×9 pixels; .*image_size"):
        _load(root)
    assert _load(root, image_size=8).train.images[4, 0, 0, 0] == 7


def test_missing_root_and_splits_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data\.root: no folder .*/absent;"):
        _load(tmp_path / "absent")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"found train/ without held-out images; .*hold_out"):
        _load(tmp_path)


def test_an_empty_split_is_named(root: Path) -> None:
    (root / "val").rename(root / "old")
    (root / "val").mkdir()
    with pytest.raises(DataError, match=r"val: found no class folders; .*hold_out"):
        _load(root)


def test_a_class_with_one_image_is_named(root: Path) -> None:
    for number in (1, 2):
        (root / "train" / "cat" / f"{number}.png").unlink()
    with pytest.raises(DataError, match="train/cat: found 1 images, allowed: at least 2"):
        _load(root)


def test_a_class_in_one_split_only_is_named(root: Path) -> None:
    _paint(root / "val" / "dog" / "0.png", 1)
    with pytest.raises(DataError, match=r"val/dog: no such class in .*train"):
        _load(root)
    (root / "val" / "dog").rename(root / "val" / ".dog")
    (root / "val" / "ant").rename(root / "val" / ".ant")
    with pytest.raises(DataError, match=r"train/ant: no such class in .*val"):
        _load(root)


def test_more_classes_than_exist_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.classes: found 4, allowed: at most 3"):
        _load(root, classes=4)


@pytest.mark.parametrize("storage", ["memory", "files"])
@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "ppm", "pcx", "jp2", "avif"]
)
def test_a_truncated_image_is_named(root: Path, suffix: str, storage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = root / "train" / "bee" / f"9.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=rf"bee/9\.{suffix}: unreadable") as caught:
        _load(root, storage=storage, image_size=8)
    assert "\n" not in str(caught.value)


def test_a_disguised_file_reaches_no_other_decoder(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "train" / "ant" / "5.png", format="EPS")  # runs a program
    with pytest.raises(DataError, match=r"ant/5\.png: unreadable \(unknown format\)"):
        _load(root)


@pytest.mark.parametrize("limit", [63, 31])  # Pillow warns above its limit, refuses above twice it
def test_a_decompression_bomb_is_named(
    root: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"ant/0\.png: unreadable .*bomb"):
        _load(root)


def test_links_may_not_leave_the_root(root: Path, tmp_path: Path) -> None:
    (root / "train" / "ant" / "3.png").symlink_to(root / "train" / "bee" / "0.png")
    assert _load(root).train.images[3, 0, 0, 0] == 10
    outside = _paint(tmp_path / "secret.png", 1)
    (root / "train" / "ant" / "4.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"ant/4\.png: links to .*secret\.png"):
        _load(root)


def test_a_circle_of_links_is_named(root: Path) -> None:
    (root / "train" / "dog").symlink_to(root / "train" / "dog")
    with pytest.raises(DataError, match="train: cannot be listed"):
        _load(root)


def test_more_than_memory_holds_is_refused_before_decoding(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_BYTES", 12 * 3 * 64 - 1)
    monkeypatch.setattr(datasets, "decode_images", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(
        ConfigError, match=r"data: 12 images of 8×8 pixels take .* lower image_size"
    ):
        _load(root)
