"""Decoded images of a folder are kept, verified, bounded, and give the bytes of decoding."""

import errno
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from classification.data import datasets, decoding, pixel_cache, source
from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
from classification.data.pixel_cache import abandoned_files, kept_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two classes; files count as settled at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pixel_cache, "KEPT_FROM", 1)
    monkeypatch.setattr(source, "_SETTLED_NS", 0)
    values = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "images" / ("train", "test")[number % 3 == 2] / "ab"[number % 2]
        path.mkdir(parents=True, exist_ok=True)
        write(path / f"{number}.png", values.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return DataConfig(kind="folder", root=tmp_path / "images")


def write(path, pixels, age=60):
    Image.fromarray(pixels).save(path)
    changed = path.stat().st_mtime - age
    os.utime(path, (changed, changed))


@pytest.fixture
def counted(monkeypatch):
    """The number of times that images were decoded."""
    calls = []

    def decode(*arguments):
        calls.append(arguments)
        return decoding.decode_images(*arguments)

    monkeypatch.setattr(datasets, "decode_images", decode)
    return calls


def same(first, second):
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.test.images, second.test.images)
    assert first.train.labels.equal(second.train.labels)
    assert first.content_hash == second.content_hash
    assert (first.normalization, first.decoding) == (second.normalization, second.decoding)


def test_kept_images_are_those_that_were_decoded(folder, counted):
    decoded, kept = load_dataset(folder), load_dataset(folder)
    assert len(counted) == 1
    same(decoded, kept)
    assert decoded.notes == kept.notes
    # The known digest is the one that the pixels have.
    unknown = type(kept.train)(kept.train.images, kept.train.labels)
    assert kept.train.digest() == unknown.digest()
    kept.train.images.zero_()  # in this process alone
    same(load_dataset(folder), decoded)
    assert len(counted) == 1


@pytest.mark.parametrize("place", [10, -1, None])
def test_damaged_images_are_decoded_again_and_the_run_says_so(folder, counted, place):
    whole = load_dataset(folder)
    (path,) = kept_files()
    content = bytearray(path.read_bytes())
    if place is None:
        del content[-5:]
    else:
        content[place] ^= 1
    path.write_bytes(content)
    again = load_dataset(folder)
    assert len(counted) == 2
    same(again, whole)
    assert f"the decoded images in {path} were damaged" in again.notes[-1]
    assert load_dataset(folder).notes == whole.notes
    assert len(counted) == 2


def test_a_changed_a_new_and_a_removed_file_are_noticed(folder, counted):
    before = load_dataset(folder)
    path = folder.root / "train" / "a" / "0.png"
    size = path.stat().st_size
    pixels = np.asarray(Image.open(path)).copy()
    write(path, pixels[::-1], age=30)  # the same values
    after = load_dataset(folder)
    assert len(counted) == 2
    assert before.content_hash != after.content_hash
    assert abs(path.stat().st_size - size) < 100
    write(folder.root / "train" / "a" / "new.png", pixels)
    assert len(load_dataset(folder).train) == len(before.train) + 1
    (folder.root / "train" / "a" / "new.png").unlink()
    same(load_dataset(folder), after)
    assert len(kept_files()) == 1  # that of the last listing


def test_settings_of_decoding_have_their_own_images_and_others_share_them(folder, counted):
    load_dataset(folder)
    load_dataset(folder.model_copy(update={"flip": False, "crop_padding": 1, "workers": 0}))
    assert len(counted) == 1
    for other in ({"image_size": 16}, {"background": "#000000"}, {"exif_orientation": True}):
        assert load_dataset(folder.model_copy(update=other)).decoding is not None
    assert len(counted) == 4
    assert len(kept_files()) == 4


def test_the_least_recently_used_images_make_room(folder, monkeypatch):
    load_dataset(folder)
    (first,) = kept_files()
    os.utime(first, (1, 1))
    load_dataset(folder.model_copy(update={"image_size": 16}))
    assert first in kept_files()
    monkeypatch.setattr(pixel_cache, "MOST_BYTES", 12 * 3 * 16 * 16 + first.stat().st_size + 4096)
    load_dataset(folder.model_copy(update={"image_size": 16, "background": "#000000"}))
    assert first not in kept_files()
    assert sum(path.stat().st_size for path in kept_files()) < 2 * pixel_cache.MOST_BYTES


def test_a_nearly_full_disk_costs_no_kept_images(folder, monkeypatch):
    load_dataset(folder)
    (first,) = kept_files()
    size = 12 * 3 * 16 * 16  # bytes of the images at 16 pixels
    monkeypatch.setattr(pixel_cache, "MOST_BYTES", size)
    usage = shutil.disk_usage(folder.root)
    free = 2 * size - first.stat().st_size  # after the removal of the first, twice the size

    def disk_usage(path):
        return usage._replace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    free -= 1
    larger = folder.model_copy(update={"image_size": 16})
    load_dataset(larger)
    assert kept_files() == [first]
    free += 1
    load_dataset(larger)
    assert len(kept_files()) == 1
    assert first not in kept_files()


def test_what_killed_processes_left_goes_with_the_next_images(folder):
    load_dataset(folder)
    (kept,) = kept_files()
    ended, old = (kept.with_name(f".pixels-1.bin.{pid}.tmp") for pid in (2**40, os.getpid()))
    written = kept.with_name(f".index-2.npz.{os.getpid()}.tmp")
    for path in (ended, old, written):
        path.write_bytes(b"part")
    os.utime(old, (1, 1))
    assert abandoned_files() == sorted([ended, old])
    load_dataset(folder.model_copy(update={"image_size": 16}))
    assert not ended.exists()
    assert not old.exists()
    assert written.exists()
    assert kept.exists()


def test_images_in_a_cache_of_another_user_serve(folder, counted, monkeypatch):
    load_dataset(folder)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    load_dataset(folder)
    assert len(counted) == 1


def test_fresh_files_and_few_files_are_not_kept(folder, monkeypatch):
    monkeypatch.setattr(pixel_cache, "KEPT_FROM", 13)
    load_dataset(folder)
    assert kept_files() == []
    monkeypatch.setattr(pixel_cache, "KEPT_FROM", 12)
    monkeypatch.setattr(source, "_SETTLED_NS", 3600 * 10**9)
    load_dataset(folder)
    assert kept_files() == []
    monkeypatch.setattr(source, "_SETTLED_NS", 0)
    load_dataset(folder)
    assert len(kept_files()) == 1


def test_changed_classes_in_a_label_file_outside_the_root_are_no_damage(folder, tmp_path):
    for number in (2, 5, 8, 11):
        path = folder.root / "test" / "ab"[number % 2] / f"{number}.png"
        path.rename(folder.root / "test" / path.name)
    (folder.root / "test" / "a").rmdir()
    (folder.root / "test" / "b").rmdir()
    labels = tmp_path / "labels.txt"
    labels.write_text("2.png a\n5.png b\n8.png a\n11.png b\n")
    config = DataConfig(kind="folder", root=folder.root, val_labels="../labels.txt")
    before = load_dataset(config)
    assert before.test.labels.tolist() == [1, 0, 1, 0]  # 11, 2, 5 and 8
    labels.write_text("2.png a\n5.png a\n8.png b\n11.png b\n")
    after = load_dataset(config)
    assert after.test.labels.tolist() == [1, 0, 0, 1]
    assert after.notes == before.notes


def test_processes_decode_as_threads_do_and_name_the_same_damaged_files(folder, monkeypatch):
    paths = sorted(folder.root.rglob("*.png"))
    plain, chosen, treated = decoding.decode_images(paths, 8, own_depth_of=4)
    monkeypatch.setattr(decoding, "_processes", lambda images: 2)
    found, own, also = decoding.decode_images(paths, 8, own_depth_of=4)
    assert torch.equal(plain, found)
    assert (chosen, treated) == (own, also)
    for path in paths[2:4]:
        path.write_bytes(b"no image")
    with pytest.raises(datasets.DataError) as failure:
        decoding.decode_images(paths, 8)
    assert all(str(path) in str(failure.value) for path in paths[2:4])
