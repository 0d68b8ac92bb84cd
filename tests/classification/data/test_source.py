"""A source changes with every file that the images or their classes come from."""

import os

import pytest

from classification.data import source
from classification.data.config import DataConfig
from classification.data.source import source_of


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Two images; files count as settled at once."""
    monkeypatch.setattr(source, "_SETTLED_NS", 0)
    for name in ("a/1.png", "a/2.png"):
        path = tmp_path / "images" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rewrite(path, f"{name:8}")
    return DataConfig(kind="folder", root=tmp_path / "images", image_size=8)


def rewrite(path, text):
    """Write a file that keeps the modification time of 1 s after 1970; only its ctime changes."""
    before = path.stat().st_ctime_ns if path.exists() else 0
    while not path.exists() or path.stat().st_ctime_ns == before:
        path.write_text(text)
        os.utime(path, (1, 1))


def test_a_source_changes_with_a_file_and_with_the_settings(config):
    path = config.root / "train" / "a" / "1.png"
    first = source_of(config)
    assert first is not None
    assert first == source_of(config)
    os.utime(path, (2, 2))
    second = source_of(config)
    assert second not in (None, first)
    path.with_name("3.png").symlink_to(path)
    assert source_of(config) is None  # its target may change
    path.with_name("3.png").unlink()
    assert source_of(config) is not None
    assert source_of(config.model_copy(update={"image_size": 16})) != source_of(config)
    assert source_of(config.model_copy(update={"storage": "files"})) is None


def test_a_source_is_unknown_while_files_change_whatever_their_modification_time(
    config, monkeypatch
):
    monkeypatch.setattr(source, "_SETTLED_NS", 3600 * 10**9)
    assert source_of(config) is None


def test_other_bytes_with_the_size_and_the_modification_time_are_noticed(config):
    path = config.root / "train" / "a" / "1.png"
    before, status = source_of(config), path.stat()
    rewrite(path, "another!")
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert source_of(config) not in (None, before)


def test_swapped_names_are_noticed(config):
    first, second = (config.root / "train" / "a" / f"{number}.png" for number in (1, 2))
    assert first.stat().st_size == second.stat().st_size
    before, changed = source_of(config), first.stat().st_ctime_ns
    while first.stat().st_ctime_ns == changed:
        first.rename(first.with_name("3.png"))
        second.rename(first)
        first.with_name("3.png").rename(second)
    assert source_of(config) not in (None, before)


@pytest.mark.parametrize("name", ["labels.txt", "meta.mat"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_label_file_outside_the_root_and_its_meta_mat_are_noticed(config, name, absolute):
    folder = config.root.parent
    for each in ("labels.txt", "meta.mat"):
        (folder / each).write_text("1")
    labels = folder / "labels.txt" if absolute else "../labels.txt"
    config = DataConfig(kind="folder", root=config.root, image_size=8, val_labels=labels)
    before = source_of(config)
    assert before is not None
    (folder / name).write_text("22")
    assert source_of(config) not in (None, before)
