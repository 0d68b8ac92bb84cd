import os

import pytest
import torch

from classification.data import file_index
from classification.data.config import DataConfig
from classification.data.file_index import FileIndex, FolderFiles, IndexCache
from classification.data.folders import list_images

LONG_AGO = 1_000_000_000


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of kept listings, of trees of any size."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_index, "_CACHED_FROM", 1)
    return tmp_path / "cache" / "nas-acceleration"


@pytest.fixture
def root(tmp_path):
    """Two classes of three training files and a test file each, at rest for years."""
    root = tmp_path / "tree"
    for split, count in (("train", 3), ("val", 1)):
        for name in ("ant", "bee"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.png").write_bytes(bytes(number + 1))
            rest(folder)
    return root


def rest(folder):
    os.utime(folder, (LONG_AGO, LONG_AGO))


def names(index):
    return [path.decode() for path, _, _ in index.entries()]


def listed(root, monkeypatch):
    """The training files, and whether a folder of theirs was listed."""
    looked = []
    of = FileIndex.of.__func__

    def spy(cls, root, folders, files):
        looked.append(folders)
        return of(cls, root, folders, files)

    with monkeypatch.context() as patch:
        patch.setattr(FileIndex, "of", classmethod(spy))
        train = list_images(DataConfig(kind="folder", root=root)).train
    return train, any(folder[0].startswith("train") for folder in looked)


def test_an_index_names_sizes_and_labels_its_files(tmp_path):
    files = [FolderFiles(["a.png", "bb.png"], [5, 6]), FolderFiles(["ü.png"], [7])]
    index = FileIndex.of(tmp_path, ["train/x", "train/y"], files)
    assert list(index.entries()) == [
        (b"train/x/a.png", 5, 0),
        (b"train/x/bb.png", 6, 0),
        ("train/y/ü.png".encode(), 7, 1),
    ]
    assert index.path(2) == tmp_path / "train/y/ü.png"
    taken = index.take(torch.tensor([2, 0])).take(torch.tensor([0]))
    assert (taken.paths, taken.sizes.tolist()) == ([tmp_path / "train/y/ü.png"], [7])


def test_names_that_are_no_unicode_come_back_as_they_were(tmp_path):
    name = os.fsdecode(b"\xff.png")
    index = FileIndex.of(tmp_path, ["train/x"], [FolderFiles([name], [1])])
    assert os.fsencode(index.path(0).name) == b"\xff.png"
    assert names_in_bytes(index) == [b"train/x/\xff.png"]


def names_in_bytes(index):
    return [path for path, _, _ in index.entries()]


def test_a_million_files_take_sixty_bytes_each(tmp_path):
    count = 10_000
    files = [FolderFiles([f"n01440764_{i:05}.JPEG" for i in range(count)], [1] * count)]
    index = FileIndex.of(tmp_path, ["train/n01440764"], files)
    parts = (index.names, index.ends, index.owners, index.all_sizes, index.rows, index.labels)
    assert sum(part.nbytes for part in parts) == count * (20 + 8 + 4 + 8 + 8 + 8)


def test_a_kept_listing_serves_again(root, cache, monkeypatch):
    first, looked = listed(root, monkeypatch)
    assert looked
    again, looked = listed(root, monkeypatch)
    assert not looked
    assert list(again.entries()) == list(first.entries())


def test_small_trees_are_not_kept(root, cache, monkeypatch):
    monkeypatch.setattr(file_index, "_CACHED_FROM", 7)
    listed(root, monkeypatch)
    assert not cache.exists()


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "resized", "class"])
def test_a_changed_tree_is_listed_anew(root, cache, monkeypatch, change):
    listed(root, monkeypatch)
    folder = root / "train" / "ant"
    if change == "added":
        (folder / "9.png").write_bytes(b"1")
    elif change == "removed":
        (folder / "0.png").unlink()
    elif change == "renamed":
        (folder / "0.png").rename(folder / "7.png")
    elif change == "resized":  # which the folder's time does not show
        (folder / "0.png").write_bytes(bytes(100))
    else:
        for split in ("train", "val"):
            (root / split / "bee").rename(root / split / "cat")
    train, looked = listed(root, monkeypatch)
    assert looked
    assert list(train.entries()) == list(fresh(root, monkeypatch).entries())


def fresh(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(IndexCache, "load", lambda self: None)
        return list_images(DataConfig(kind="folder", root=root)).train


def test_a_folder_changed_a_moment_ago_is_not_kept(root, cache, monkeypatch):
    os.utime(root / "train" / "ant")
    _, looked = listed(root, monkeypatch)
    _, looked_again = listed(root, monkeypatch)
    assert looked
    assert looked_again


def test_links_are_looked_at_every_time(root, cache, monkeypatch):
    (root / "train" / "ant" / "3.png").symlink_to(root / "train" / "bee" / "0.png")
    rest(root / "train" / "ant")
    listed(root, monkeypatch)
    _, looked = listed(root, monkeypatch)
    assert looked


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_a_damaged_cache_is_made_again(root, cache, monkeypatch, damage):
    first, _ = listed(root, monkeypatch)
    for path in cache.iterdir():
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[content.index(b"0.png")] ^= 1
        kept = {"cut": content[:-100], "foreign": b"{}", "empty": b""}.get(damage, content)
        path.write_bytes(kept)
    train, looked = listed(root, monkeypatch)
    assert looked
    assert list(train.entries()) == list(first.entries())
    assert not listed(root, monkeypatch)[1]


def test_no_bit_of_a_kept_listing_changes_unseen(root, cache, monkeypatch):
    whole = names(listed(root, monkeypatch)[0])
    path = sorted(cache.glob("*.npz"))[0]
    content = path.read_bytes()
    for place in range(0, len(content), 11):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        assert names(list_images(DataConfig(kind="folder", root=root)).train) == whole
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_stands_in_a_kept_listings_place_is_no_error(root, cache, monkeypatch, kind):
    whole = names(listed(root, monkeypatch)[0])
    path = sorted(cache.glob("*.npz"))[0]
    path.unlink()
    path.mkdir() if kind == "folder" else path.symlink_to("nowhere")
    assert names(list_images(DataConfig(kind="folder", root=root)).train) == whole


def test_a_cache_that_cannot_be_written_is_no_error(root, tmp_path, cache, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    listed(root, monkeypatch)
    train, looked = listed(root, monkeypatch)
    assert looked
    assert len(train) == 6


def test_each_number_of_images_is_kept_by_itself(root, cache):
    for _ in range(2):
        assert len(list_images(DataConfig(kind="folder", root=root, images_per_class=2)).train) == 4
        assert len(list_images(DataConfig(kind="folder", root=root, classes=2)).train) == 6
