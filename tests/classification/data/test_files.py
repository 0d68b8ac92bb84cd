import gc
import os
from hashlib import sha256

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from classification.classifier import train_classifier
from classification.config import ClassifierConfig
from classification.data.augmentation import ColourJitter
from classification.data.datasets import DataConfig, load_dataset
from classification.data.file_index import FileIndex, FolderFiles
from classification.data.files import ImageFiles, default_workers
from classification.errors import ConfigError, DataError
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from classification.world import World

CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path):
    """Two classes of plain grey images of different shapes; the grey value names the image."""
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("ant", "bee")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                value = 40 * (label * count + index)
                shape = (90 + 10 * index, 70)
                Image.new("L", shape, value).save(folder / f"{index}.png")
    return tmp_path


def load(root, **settings):
    config = DataConfig(kind="folder", root=root, storage="files", image_size=32, workers=0)
    return load_dataset(config.model_copy(update=settings))


def epoch(files, seed=0, training=True, batch_size=4):
    generator = make_generator(seed, "order") if training else None
    return list(files.loader(batch_size, CPU, training).batches(generator))


def test_evaluation_shows_every_file_in_order_at_its_size(root):
    data = load(root)
    batches = epoch(data.test, training=False, batch_size=3)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert images.dtype == torch.uint8
    assert images.shape == (4, 3, 32, 32)
    assert labels.tolist() == [0, 0, 1, 1]
    assert images[:, 0, 16, 16].tolist() == [0, 40, 80, 120]


def test_a_training_epoch_shows_every_image_once(root):
    batches = epoch(load(root).train)
    assert [len(labels) for _, labels in batches] == [4, 2]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == [0, 0, 0, 1, 1, 1]


def test_a_jitter_of_the_hue_is_for_training_on_files_alone(root):
    """Red turned by up to a fifth of the circle keeps one channel at its peak and one at 0."""
    for path in root.glob("*/*/*.png"):
        Image.new("RGB", (40, 40), (200, 0, 0)).save(path)
    data = load(root).with_jitter(ColourJitter(strength=0.0, hue=0.2))
    images = torch.cat([images for images, _ in epoch(data.train)]).flatten(2)
    assert (images.amax((1, 2)) >= 199).all()
    assert (images.amin((1, 2)) == 0).all()
    assert images[:, 1:].amax() > 0
    (tested, _), *_ = epoch(data.test, training=False)
    assert torch.equal(tested[:, :, 16, 16], torch.tensor([[200, 0, 0]] * 4).byte())
    in_memory = load(root, storage="memory")
    assert in_memory.with_jitter(ColourJitter(hue=0.2)) is in_memory


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_repeats_whatever_the_number_of_workers(root, workers):
    gradient = Image.linear_gradient("L")
    for path in root.glob("train/*/*.png"):
        gradient.save(path)
    reference = epoch(load(root).train)
    again = epoch(load(root, workers=workers).train)
    for (images, labels), (same_images, same_labels) in zip(reference, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    others = epoch(load(root).train, seed=1)
    assert not torch.equal(reference[0][0], others[0][0])


def test_the_content_hash_heeds_names_sizes_and_image_size(root):
    hashes = {load(root).content_hash, load(root, image_size=48).content_hash}
    (root / "train" / "ant" / "0.png").rename(root / "train" / "ant" / "9.png")
    hashes.add(load(root).content_hash)
    Image.new("L", (300, 300), 7).save(root / "train" / "ant" / "9.png")
    hashes.add(load(root).content_hash)
    assert len(hashes) == 4


def test_a_truncated_file_is_named_when_its_turn_comes(root):
    path = root / "train" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"bee/1\.png"):
        epoch(load(root).train)


def test_large_folders_stay_in_files_unless_told_otherwise(root):
    settings = {"kind": "folder", "root": root}
    assert DataConfig(**settings, image_size=224).in_files
    assert not DataConfig(**settings, image_size=64).in_files
    assert not DataConfig(**settings, image_size=224, storage="memory").in_files
    assert isinstance(load(root).train, ImageFiles)


def test_images_in_files_are_no_source_for_scores(root):
    with pytest.raises(ConfigError, match=r"data\.storage"):
        load(root).in_memory()


def test_take_keeps_paths_and_labels_together(root):
    taken = load(root).train.take(torch.tensor([5, 0]))
    assert taken.files.paths == [root / "train/bee/2.png", root / "train/ant/0.png"]
    assert taken.labels.tolist() == [1, 0]


def test_images_are_mirrored_only_where_they_may_be(root):
    gradient = Image.linear_gradient("L").rotate(90)
    for path in root.glob("train/*/*.png"):
        gradient.save(path)
    rising = []
    for flip in (True, False):
        train = load(root, flip=flip).train
        images = torch.cat([batch for seed in range(4) for batch, _ in epoch(train, seed)])
        rows = images[:, 0, 16].float()
        rising.append({bool(row[0] < row[-1]) for row in rows})
    assert len(rising[1]) == 1
    assert rising[0] == {True, False}


def test_the_content_hash_of_a_tree_stays_what_it_was(tmp_path):
    """Of names, sizes, labels and how files become pixels; a run's artifacts go by it."""
    folders = [
        FolderFiles([f"{index}.png" for index in range(3)], [s, s + 1, s + 2]) for s in (1, 11)
    ]
    files = FileIndex.of(tmp_path, ["train/ant", "train/bee"], folders)
    lines = ["32 Decoding(background='#ffffff', exif_orientation=False, bits=16)\n"]
    lines += [
        f"train/{name}/{index}.png\t{10 * label + index + 1}\t{label}\n"
        for label, name in enumerate(("ant", "bee"))
        for index in range(3)
    ]
    assert ImageFiles(files, 32).digest() == sha256("".join(lines).encode()).hexdigest()


def test_two_processes_load_the_halves_of_each_batch(root):
    gradient = Image.linear_gradient("L")
    for path in root.glob("train/*/*.png"):
        gradient.save(path)
    train = load(root).train
    alone = epoch(train)
    local = [
        list(train.loader(4, CPU, True, World(rank, 2)).batches(make_generator(0, "order")))
        for rank in range(2)
    ]
    for (images, labels), *parts in zip(alone, *local, strict=True):
        for rank, (own, own_labels) in enumerate(parts):
            assert torch.equal(own, images[rank::2])
            assert torch.equal(own_labels, labels[rank::2])


def test_an_epoch_left_early_disturbs_no_other(root):
    loader = load(root, workers=1).train.loader(2, CPU, True)
    left, beside = (loader.batches(make_generator(seed, "order")) for seed in (1, 2))
    next(left)
    next(beside)
    left.close()
    whole = list(loader.batches(make_generator(0, "order"), first=1))
    reference = epoch(load(root).train, batch_size=2)[1:]
    assert len(whole) == len(reference) == 2
    for (images, labels), (same_images, same_labels) in zip(whole, reference, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)


def test_workers_last_from_epoch_to_epoch_and_end_with_the_loader(root):
    loader = load(root, workers=1).train.loader(4, CPU, True)
    seen = []
    for seed in range(2):
        list(loader.batches(make_generator(seed, "order")))
        iterator = loader._idle._loader._iterator
        seen.append([worker.pid for worker in iterator._workers])
    (worker,) = iterator._workers
    assert seen[0] == seen[1]
    assert worker.is_alive()
    del loader, iterator
    gc.collect()
    worker.join(20)
    assert not worker.is_alive()


# Unreadable files


def break_file(path):
    path.write_bytes(path.read_bytes()[:40])


def test_the_next_readable_image_stands_in_with_its_own_label(root):
    for name in ("ant/1.png", "ant/2.png"):
        break_file(root / "train" / name)
    loader = load(root, max_unreadable=2).train.loader(6, CPU, False)
    ((images, labels),) = loader.batches()
    assert images[:, 0, 16, 16].tolist() == [0, 120, 120, 120, 160, 200]
    assert labels.tolist() == [0, 1, 1, 1, 1, 1]
    assert loader.unreadable == (root / "train/ant/1.png", root / "train/ant/2.png")


def test_the_first_image_stands_in_for_the_last(root):
    break_file(root / "val" / "bee" / "1.png")
    loader = load(root, max_unreadable=1).test.loader(4, CPU, False)
    for _ in range(2):  # seen twice, it counts once
        ((images, labels),) = loader.batches()
        assert images[:, 0, 16, 16].tolist() == [0, 40, 80, 0]
        assert labels.tolist() == [0, 0, 1, 0]
    assert len(loader.unreadable) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_more_unreadable_images_than_allowed_are_counted_and_named(root, workers):
    train = load(root, max_unreadable=3, workers=workers).train
    one = load(root, workers=workers).train.take(torch.tensor([2, 3, 5]))
    for path in root.glob("train/*/[01].png"):  # after they were looked at
        break_file(path)
    with pytest.raises(DataError, match=r"4 unreadable images, allowed: at most 3 \(data\.max_"):
        epoch(train)
    with pytest.raises(DataError, match=r"bee/0\.png: unreadable .* data\.max_unreadable above 0$"):
        epoch(one)


def test_all_files_cut_short_are_named_at_once_before_anything_starts(root):
    broken = [root / "train/ant/1.png", root / "train/bee/0.png", root / "val/bee/1.png"]
    for path in broken:
        break_file(path)
    with pytest.raises(DataError) as refusal:
        load(root, max_unreadable=1)
    message = str(refusal.value)
    assert message.startswith("3 images cannot be used: ")
    assert all(str(path) in message for path in broken)
    assert message.endswith(", or data.max_unreadable above 1")
    assert "\n" not in message
    data = load(root, max_unreadable=2)
    assert "3 images cannot be used" in data.notes[1]
    with pytest.raises(DataError) as refusal:
        load(root, storage="memory", image_size=16)
    assert all(str(path) in str(refusal.value) for path in broken)


def test_a_split_without_a_readable_image_fails_whatever_is_allowed(root):
    test = load(root, max_unreadable=100).test
    for path in root.glob("val/*/*.png"):
        break_file(path)
    with pytest.raises(DataError, match="4 images cannot be used"):
        load(root, max_unreadable=100)
    with pytest.raises(DataError, match="4 unreadable images"):
        epoch(test, training=False)


def test_a_decompression_bomb_is_unreadable(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70 * 95)  # warns above it
    loader = load(root, max_unreadable=9).train.loader(6, CPU, True)
    list(loader.batches(make_generator(0, "order")))
    assert {path.name for path in loader.unreadable} == {"1.png", "2.png"}


# Settings


def test_cores_are_shared_out_among_the_processes_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32), raising=False)
    assert default_workers() == 16
    assert default_workers(World(1, 4)) == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of four, on two machines
    assert default_workers(World(1, 4)) == 15


def test_images_in_files_are_augmented_in_another_way(root):
    settings = {"kind": "folder", "root": root}
    memory, files = DataConfig(**settings), DataConfig(**settings, image_size=224)
    assert (memory.augmentation.in_files, files.augmentation.in_files) == (False, True)


def test_unreadable_images_are_allowed_in_files_alone(root):
    with pytest.raises(ValidationError, match="max_unreadable needs images that stay"):
        DataConfig(kind="folder", root=root, max_unreadable=1)


def test_a_process_without_an_image_of_the_last_batch_sees_nothing_of_it(root):
    test = load(root).test  # 4 images
    passes = [list(test.loader(3, CPU, False, World(rank, 2)).batches()) for rank in (0, 1)]
    assert [[len(labels) for _, labels in batches] for batches in passes] == [[2, 1], [1]]


def test_training_names_each_unreadable_file_once(root, tmp_path_factory):
    path = root / "train" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    said = []
    workspace = Workspace(tmp_path_factory.mktemp("work"), log=said.append)
    config = ClassifierConfig(model="resnet8", epochs=2, batch_size=3)
    data = load(root, max_unreadable=1)
    train_classifier(data, config, seed=0, device=CPU, workspace=workspace)
    assert said == [f"warning: {path}: unreadable; replaced by another image"]
