"""Pixels of images as they come: transparency, depth, orientation and formats.

Every picture is read both ways: with the images in memory, and left in their files.
"""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from classification.data.datasets import DataConfig, load_dataset
from classification.data.decoding import Decoding
from classification.data.files import _Decoder
from classification.errors import DataError

SIDE = 8
STORED = pytest.mark.parametrize("storage", ["memory", "files"])
# A shape for which all eight orientations differ.
SHAPE = np.zeros((SIDE, SIDE), dtype=bool)
SHAPE[1:4, 2] = SHAPE[6, 1:7] = SHAPE[0, 0] = True


@pytest.fixture
def root(tmp_path):
    """Two classes of two black training images and a black one held out."""
    for split, count in (("train", 2), ("val", 1)):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                Image.new("L", (SIDE, SIDE)).save(tmp_path / split / name / f"{index}.png")
    return tmp_path


def load(root, storage, **settings):
    settings |= {"storage": storage, "workers": 0, "image_size": SIDE}
    return load_dataset(DataConfig(kind="folder", root=root, **settings))


def shown(split):
    """The images of a split as its evaluation shows them, uint8 [N, 3, 8, 8]."""
    loader = split.loader(4, torch.device("cpu"), training=False)
    return torch.cat([images for images, _ in loader.batches()])


@pytest.fixture
def read(root, monkeypatch):
    """The pixels [3, 8, 8] of the picture that `save` writes, of train or held out."""
    # Files are enlarged and cut; without that a pixel of a file is a pixel of the batch.
    monkeypatch.setattr("classification.data.files._RESIZE", 1.0)

    def _read(save, suffix, storage, split="train", **settings):
        path = root / split / "ant" / f"0{suffix}"
        path.with_suffix(".png").unlink(missing_ok=True)
        save(path)
        data = load(root, storage, **settings)
        return shown(data.train if split == "train" else data.test)[0], data

    return _read


def gray(values):
    """An image's three channels of the same values, uint8 [3, 8, 8]."""
    return torch.from_numpy(np.broadcast_to(values, (3, SIDE, SIDE)).astype(np.uint8))


def png(depth, kind, rows, clear):
    """A PNG of that bit depth and colour type, 8×8, of which one value is transparent."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0))
    body = b"".join(b"\0" + row for row in rows)
    chunks = chunk(b"tRNS", clear) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + chunks


# Transparency


def alpha_alone(mode):
    """Black everywhere, and opaque where SHAPE is: decoded without alpha, nothing is left of it."""
    picture = Image.new(mode, (SIDE, SIDE), 0)
    picture.putalpha(Image.fromarray(SHAPE.astype(np.uint8) * 255))
    return picture


def palette(path):
    picture = Image.fromarray(SHAPE.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 0, 0, 0])
    picture.save(path, transparency=bytes([0, 255]))


def clear_colour(path):
    """Black on white with black's twin (1, 1, 1) made transparent."""
    values = np.where(SHAPE, 0, 1).astype(np.uint8)
    Image.fromarray(np.stack([values] * 3, -1)).save(path, transparency=(1, 1, 1))


def clear_gray(depth):
    """A PNG of gray in `depth` bits: 0 in SHAPE; elsewhere the largest value, transparent."""
    largest = (1 << depth) - 1
    bits = "".join(f"{0 if inside else largest:0{depth}b}" for inside in SHAPE.flat)
    content = int(bits, 2).to_bytes(SIDE * SIDE * depth // 8, "big")
    row = len(content) // SIDE
    rows = [content[start : start + row] for start in range(0, len(content), row)]
    return lambda path: path.write_bytes(png(depth, 0, rows, struct.pack(">H", largest)))


def clear_deep_colour(path):
    rows = [b"".join(struct.pack(">3H", *(3 * [0 if i else 9])) for i in row) for row in SHAPE]
    path.write_bytes(png(16, 2, rows, struct.pack(">3H", 9, 9, 9)))


TRANSPARENT = {
    "RGBA": (lambda path: alpha_alone("RGB").save(path), ".png"),
    "LA": (lambda path: alpha_alone("L").save(path), ".png"),
    "palette": (palette, ".png"),
    "GIF": (lambda path: alpha_alone("RGB").save(path), ".gif"),
    "WebP": (lambda path: alpha_alone("RGB").save(path, lossless=True, exact=True), ".webp"),
    "TIFF": (lambda path: alpha_alone("RGB").save(path), ".tif"),
    "colour": (clear_colour, ".png"),
    "deep colour": (clear_deep_colour, ".png"),
    **{f"gray of {depth} bits": (clear_gray(depth), ".png") for depth in (1, 2, 4, 8, 16)},
}


@pytest.mark.parametrize("kind", TRANSPARENT)
@STORED
def test_a_shape_in_transparency_alone_is_seen_on_white_and_on_a_stated_colour(read, storage, kind):
    save, suffix = TRANSPARENT[kind]
    pixels, data = read(save, suffix, storage)
    assert torch.equal(pixels, gray(np.where(SHAPE, 0, 255)))
    assert any("1 image with transparency" in note and "#ffffff" in note for note in data.notes)
    pixels, other = read(save, suffix, storage, background="#FF8000")
    assert pixels[:, 7, 7].tolist() == [255, 128, 0]
    assert pixels[:, 6, 1].tolist() == [0, 0, 0]
    assert data.content_hash != other.content_hash


@STORED
def test_half_opaque_pixels_are_mixed_with_the_background(read, storage):
    """200 · 100/255 + 255 · 155/255 = 233.4 and, on black, 78.4."""
    picture = Image.new("RGBA", (SIDE, SIDE), (200, 200, 200, 100))
    pixels, _ = read(picture.save, ".png", storage, "val")
    assert torch.equal(pixels, gray(np.full((SIDE, SIDE), 233)))
    pixels, _ = read(picture.save, ".png", storage, "val", background="#000000")
    assert torch.equal(pixels, gray(np.full((SIDE, SIDE), 78)))


def test_an_image_with_palette_and_alpha_is_composited():
    """Mode PA: nothing that Pillow reads has it, but its conversions make it."""
    pixels = np.asarray(Decoding().flatten(alpha_alone("RGB").convert("PA")))
    assert (pixels == np.where(SHAPE, 0, 255)[..., None]).all()


# Depth

LEVELS = np.linspace(0, 4095, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)  # 12 bits


def in_8_bits(values, bits=12):
    return torch.from_numpy(np.rint(255 * values.astype(float) / (2**bits - 1)).astype(np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@STORED
def test_twelve_bits_in_sixteen_are_scaled_by_twelve(read, storage, suffix):
    pixels, data = read(Image.fromarray(LEVELS).save, suffix, storage)
    assert torch.equal(pixels, in_8_bits(LEVELS).expand(3, -1, -1))
    assert len(pixels.unique()) == 64  # `>> 8` would leave 16
    assert any("1 image of more than 8 bits" in note and "12 bits" in note for note in data.notes)
    assert data.decoding.bits == 12


@STORED
def test_sixteen_bits_a_colour_of_a_png_are_scaled_too(read, storage):
    colours = np.stack([LEVELS, LEVELS[::-1], LEVELS.T], -1)  # red, green, blue
    pixels, _ = read(lambda path: cv2.imwrite(str(path), colours[..., ::-1]), ".png", storage)
    assert torch.equal(pixels, in_8_bits(colours).permute(2, 0, 1))


@STORED
def test_alpha_of_sixteen_bits_uses_all_of_them(read, storage):
    """Opaque where SHAPE is, which says nothing of the colours' depth: 4095 is white."""
    values = np.stack([LEVELS] * 3 + [np.where(SHAPE, 65535, 0).astype(np.uint16)], -1)
    values[6, 6, :3] = 4095
    pixels, _ = read(
        lambda path: cv2.imwrite(str(path), values), ".png", storage, background="#000000"
    )
    assert torch.equal(pixels, in_8_bits(values[..., 0] * SHAPE).expand(3, -1, -1))


@STORED
def test_the_depth_is_that_of_the_training_images_for_both_splits(root, read, storage):
    """Ten bits of training; the held-out image, of twelve, is cut at white."""
    training = LEVELS // 4
    Image.fromarray(training).save(root / "train" / "bee" / "0.png")
    pixels, data = read(Image.fromarray(LEVELS).save, ".png", storage, "val")
    assert data.decoding.bits == 10
    assert torch.equal(
        pixels,
        in_8_bits(LEVELS, 10)
        .where(torch.from_numpy(LEVELS <= 1023), torch.tensor(255, dtype=torch.uint8))
        .expand(3, -1, -1),
    )


@STORED
def test_eight_bits_in_sixteen_and_full_range_stay_what_they_are(read, storage):
    eight = np.arange(64, dtype=np.uint16).reshape(SIDE, SIDE) * 4
    pixels, _ = read(Image.fromarray(eight).save, ".png", storage)
    assert torch.equal(pixels, gray(eight))
    pixels, _ = read(Image.fromarray(eight * 257 + 3).save, ".png", storage)  # 252 · 257 + 3
    assert torch.equal(pixels, in_8_bits(eight * 257 + 3, 16).expand(3, -1, -1))


@STORED
def test_floats_are_zero_to_one_whatever_they_use(read, storage):
    values = np.linspace(0, 0.2, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    pixels, _ = read(Image.fromarray(values).save, ".tif", storage)
    assert torch.equal(pixels, gray(np.rint(values * 255)))
    with pytest.raises(DataError, match=r"0\.tif: unreadable \(floating-point pixels from 0 to 2"):
        read(Image.fromarray(values * 10).save, ".tif", storage)


@STORED
def test_bits_that_pillow_does_not_read_are_said(read, storage):
    colours = np.stack([LEVELS * 16] * 3, -1)
    pixels, data = read(lambda path: cv2.imwrite(str(path), colours), ".tif", storage)
    assert torch.equal(pixels, gray(LEVELS >> 4))
    assert any("(TIFF) of more than 8 bits a colour, of which" in note for note in data.notes)


# Orientation


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@STORED
def test_exif_orientations_are_pillows_where_asked_for_and_left_alone_elsewhere(
    read, storage, suffix
):
    picture = Image.fromarray(np.stack([SHAPE.astype(np.uint8) * 255] * 3, -1))
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {"lossless": True}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation

        def save(path, exif=exif):
            picture.save(path, exif=exif, **(options if suffix != ".tif" else {}))

        pixels, _ = read(save, suffix, storage, exif_orientation=True)
        upright = np.asarray(ImageOps.exif_transpose(with_exif(picture, orientation)))
        assert (pixels.numpy() > 127).tolist() == (upright > 127).transpose(2, 0, 1).tolist()
        plain, data = read(save, suffix, storage)
        if suffix != ".tif":  # which Pillow itself turns, whoever reads it
            assert (plain.numpy() > 127)[0].tolist() == SHAPE.tolist()
        if storage == "files" and orientation != 1:
            assert any("1 image with an EXIF orientation, not turned" in n for n in data.notes)


def with_exif(picture, orientation):
    turned = picture.copy()
    exif = turned.getexif()
    exif[0x0112] = orientation
    turned.info["exif"] = exif.tobytes()
    return turned


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_training_crops_come_from_the_upright_image(root, suffix):
    """A gradient from left to right, stored on its side: rows of a crop are constant before it is
    turned, columns after."""
    columns = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated
    for path in root.glob("train/*/*.png"):
        path.unlink()
        picture = Image.fromarray(np.rot90(columns).copy()).convert("RGB")
        picture.save(path.with_suffix(suffix), exif=exif)
    train = load(root, "files", exif_orientation=True, flip=False).train
    images = _Decoder(train, training=True).__getitems__((0, [(n, 0) for n in range(4)]))[0].float()
    assert images.std(2).max() < 3  # over a column
    assert images.std(3).min() > 3


# Formats


@pytest.mark.parametrize(
    "suffix", [".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".pcx", ".webp", ".BMP"]
)
@STORED
def test_formats_that_pillow_reads_are_read(read, storage, suffix):
    values = SHAPE.astype(np.uint8) * 255
    picture = Image.fromarray(values if suffix == ".pgm" else np.stack([values] * 3, -1))
    options = {"lossless": True} if suffix == ".webp" else {}
    pixels, data = read(lambda path: picture.save(path, **options), suffix, storage)
    assert torch.equal(pixels, gray(values))
    assert len(data.notes) == 1  # what was taken for what


@STORED
def test_what_is_passed_over_is_counted(root, storage):
    for name in ("a.xyz", "b.xyz", "notes.txt", "readme"):
        (root / "train" / "ant" / name).write_text("no image")
    (root / "val" / "bee" / "more").mkdir()
    data = load(root, storage)
    assert data.notes[:2] == (
        "train: train/; held out: val/",
        "passed over: 4 files (.xyz 2, no ending 1, .txt 1), 1 folder in class folders",
    )
    assert len(data.train) == 4
