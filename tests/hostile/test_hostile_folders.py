"""Dataset folders from strangers: links, pipes, devices, bombs and lies among the images."""

import io
import os
import resource
import struct
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from classification.data.datasets import DataConfig, load_dataset
from classification.errors import ConfigError, DataError
from run_pipeline import main

MIB = 1 << 20


@pytest.fixture
def root(tmp_path):
    """Two classes, of three training images and a test image each."""
    for split, count in (("train", 3), ("val", 1)):
        for value, name in enumerate(("ant", "bee")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (100 * value + index, 0, 0)).save(
                    folder / f"{index}.png"
                )
    return tmp_path / "pets"


def load(root, **settings):
    return load_dataset(DataConfig(kind="folder", root=root, **settings))


def refused(root, **settings):
    before = peak_bytes()
    with pytest.raises((DataError, ConfigError)) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)
    assert peak_bytes() - before < 400 * MIB
    return str(caught.value)


def make_flat(root):
    """Leave one image in val, without a class folder."""
    for name in ("ant", "bee"):
        (root / "val" / name).rename(root / f".{name}")
    Image.new("RGB", (32, 32)).save(root / "val" / "0.png")


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def png(width, height, chunks=()):
    """A gray PNG of all zeros that says it is of that size; `chunks` come before its pixels."""

    def chunk(kind, data, length=None):
        size = struct.pack(">I", len(data) if length is None else length)
        return size + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(MIB), 9)
    parts = [chunk(b"IHDR", header), *(chunk(*each) for each in chunks), chunk(b"IDAT", pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def test_a_linked_root_is_like_any_other(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert load(tmp_path / "link").content_hash == load(root).content_hash


@pytest.mark.parametrize("what", ["file", "class", "split"])
def test_links_out_of_the_root_are_refused_until_a_setting_allows_them(root, tmp_path, what):
    there = {"file": "train/ant/0.png", "class": "train/ant", "split": "train"}[what]
    elsewhere = tmp_path / "shared" / "disk"
    elsewhere.parent.mkdir()
    expected = load(root).content_hash
    (root / there).rename(elsewhere)
    (root / there).symlink_to(elsewhere)
    message = refused(root)
    assert message == (
        f"{root / there}: links to {elsewhere}; allowed: links that stay inside {root}, or "
        "data.follow_links true"
    )
    assert load(root, follow_links=True).content_hash == expected


@pytest.mark.parametrize("follow", [False, True])
def test_links_in_a_circle_end_in_a_message(root, follow):
    (root / "train" / "cat").symlink_to(root / "train" / "cat")
    assert "train: cannot be listed" in refused(root, follow_links=follow)
    (root / "train" / "cat").unlink()
    (root / "val" / "cat").symlink_to(root / "train" / "dog")
    assert "val: cannot be listed" in refused(root, follow_links=follow)


def test_a_folder_that_holds_itself_is_listed_once(root):
    """Classes are not looked into further than their images."""
    (root / "train" / "ant" / "train").symlink_to(root / "train")
    assert len(load(root).train) == 6


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/stdin", "/proc/self/mem"])
def test_pipes_and_devices_among_the_images_are_passed_over(root, target):
    os.mkfifo(root / "train" / "ant" / "pipe")
    link = root / "train" / "ant" / "9.png"
    link.symlink_to(target)
    if target == "/proc/self/mem":  # which the system calls a file
        with pytest.raises(DataError, match=r"9\.png: unreadable"):
            load(root, follow_links=True)
    else:
        assert len(load(root, follow_links=True).train) == 6


def test_a_pipe_as_the_first_image_or_the_labels_is_not_waited_for(root):
    for name in ("0.png", "1.png"):
        (root / "val" / "ant" / name).unlink(missing_ok=True)
        os.mkfifo(root / "val" / "ant" / name)
    assert "val/ant: found 0 images" in refused(root)
    os.mkfifo(root / "labels.txt")
    make_flat(root)
    assert "labels.txt: cannot be read (not a regular file" in refused(
        root, val_labels="labels.txt"
    )


def first_batches(data, training=False):
    loader = data.train.loader(4, torch.device("cpu"), training)
    return list(loader.batches(torch.Generator() if training else None))


@pytest.mark.parametrize("stored", ["memory", "files"])
def test_an_image_of_terabytes_is_refused_unread(root, stored):
    kept = {"storage": stored, "image_size": 16, "workers": 0}
    data = load(root, **kept)
    path = root / "train" / "ant" / "0.png"
    os.truncate(path, 1 << 40)
    assert "ant/0.png: unreadable (larger than the limit" in refused(root, **kept)
    if stored == "files":  # one that grew after it was looked at
        with pytest.raises(DataError, match=r"ant/0\.png: unreadable \(larger"):
            first_batches(data)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 9)])
@pytest.mark.parametrize("stored", ["memory", "files"])
def test_a_decompression_bomb_is_refused_by_its_size(root, size, stored):
    kept = {"storage": stored, "image_size": 16, "workers": 0}
    data = load(root, **kept)
    (root / "train" / "ant" / "0.png").write_bytes(png(*size))
    assert "ant/0.png: unreadable" in refused(root, **kept)
    if stored == "files":  # one that came after the others were looked at
        before = peak_bytes()
        with pytest.raises(DataError, match=r"ant/0\.png: unreadable"):
            first_batches(data, training=True)
        assert peak_bytes() - before < 400 * MIB


def test_a_decompression_bomb_is_named_by_a_worker_process_too(root):
    data = load(root, storage="files", image_size=16, workers=1)
    (root / "train" / "ant" / "0.png").write_bytes(png(20_000, 20_000))
    with pytest.raises(DataError, match=r"ant/0\.png: unreadable .*bomb"):
        first_batches(data)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_bombs_of_other_formats_are_refused_by_their_size(root, suffix):
    """A small file whose header is made to speak of many pixels."""
    path = root / "train" / "ant" / f"7.{suffix}"
    Image.new("RGB", (16, 16)).save(path, lossless=True)
    content = bytearray(path.read_bytes())
    if suffix == "jpg":
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", 65_000, 65_000)
    else:
        start = content.index(b"VP8L") + 9  # 14 bits of width - 1, then of height - 1
        content[start : start + 4] = struct.pack("<I", 16_382 | 16_382 << 14)
    path.write_bytes(content)
    assert f"ant/7.{suffix}: unreadable" in refused(root, image_size=16)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(256 * MIB), 9)),
        (b"iCCP", b"Profile\0\0" + zlib.compress(bytes(256 * MIB), 9)),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(256 * MIB), 9)),
        (b"tEXt", b"short", 2**31 - 1),
        (b"IDAT", b"short", 2**32 - 1),
    ],
    ids=["zTXt", "iCCP", "iTXt", "length", "negative"],
)
def test_what_a_png_says_beside_its_pixels_is_bounded(root, chunk):
    before = peak_bytes()
    (root / "train" / "ant" / "0.png").write_bytes(png(32, 32, [chunk]))
    try:
        load(root)
    except DataError as error:
        assert "ant/0.png: unreadable" in str(error)  # noqa: PT017 - profiles may be passed over
    assert peak_bytes() - before < 200 * MIB


@pytest.mark.parametrize("size", [MIB, 1 << 40])
def test_labels_that_are_no_text_are_named(root, size):
    make_flat(root)
    path = root / "labels.txt"
    path.write_bytes(b"\xff" * 100)
    os.truncate(path, size)
    assert "labels.txt: cannot be read" in refused(root, val_labels="labels.txt")


def meta(path, content):
    """A MATLAB file that is a header and one element, deflated."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    body = zlib.compress(content, 1)
    path.write_bytes(head + struct.pack("<II", 15, len(body)) + body)


def element(kind, data, length=None):
    return struct.pack("<II", kind, len(data) if length is None else length) + data


def matrix(dimensions, *parts, of=6):
    flags = element(6, struct.pack("<II", of, 0))
    shape = element(5, struct.pack(f"<{len(dimensions)}i", *dimensions))
    body = flags + shape + element(1, b"synsets\0"[:7].ljust(8, b"\0"), 7) + b"".join(parts)
    return element(14, body)


@pytest.mark.parametrize(
    "content",
    [
        matrix((1, 40 * MIB), element(9, bytes(320 * MIB))),
        matrix((2**31 - 1, 2**31 - 1), element(9, b"")),
        matrix((1, 2**31 - 1), of=1),
        matrix((2**15, 2**15), of=1),
        matrix((-1, 4), element(9, bytes(64))),
        matrix((1, 4), element(9, bytes(8), 2**32 - 1)),
        element(14, b"", 2**32 - 1),
    ],
    ids=["zeros", "square", "cells", "square-of-cells", "negative", "length", "empty"],
)
def test_a_devkit_that_lies_is_named_and_takes_no_memory(root, content):
    make_flat(root)
    (root / "truth.txt").write_text("1\n")
    meta(root / "meta.mat", content)
    del content
    before = peak_bytes()
    message = refused(root, val_labels="truth.txt")
    assert "meta.mat: unreadable" in message
    assert peak_bytes() - before < 400 * MIB


def test_objects_and_functions_in_a_devkit_are_but_data(root):
    """scipy reads MATLAB's objects as records; Python's are none of the format."""
    make_flat(root)
    (root / "truth.txt").write_text("1\n")
    records = np.array(
        [(1, "__import__('os').system('touch ran')")],
        dtype=[("ILSVRC2012_ID", object), ("WNID", object)],
    )
    scipy.io.savemat(root / "meta.mat", {"synsets": records})
    assert "which train does not hold" in refused(root, val_labels="truth.txt")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_pickles_in_the_place_of_cifar_are_neither_run_nor_unpacked(
    tmp_path, monkeypatch, capsys, name
):
    """Files and archive are compared with the published checksums before anything reads them."""
    from torchvision import datasets
    from torchvision.datasets import utils

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    folder, ran, out = tmp_path / kind.base_folder, tmp_path / "ran", tmp_path.parent / "slipped"
    folder.mkdir()
    for file, _ in [*kind.train_list, *kind.test_list, [kind.meta["filename"], ""]]:
        (folder / file).write_bytes(b"cposix\nsystem\n(S'touch " + os.fsencode(ran) + b"'\ntR.")
    with tarfile.open(tmp_path / kind.filename, "w:gz") as archive:
        member = tarfile.TarInfo(f"../{out.name}")
        member.size = 2
        archive.addfile(member, io.BytesIO(b"no"))

    def offline(*_):
        raise OSError("no network here")

    monkeypatch.setattr(utils, "_urlretrieve", offline)
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, max_hops: url)
    (tmp_path / "x.yaml").write_text(f"data: {{kind: {name}, root: {tmp_path}}}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["run", str(tmp_path / "x.yaml"), "--dry-run"]) == 2
    assert f"data.root: {name} is not in" in capsys.readouterr().err
    assert not ran.exists()
    assert not out.exists()
