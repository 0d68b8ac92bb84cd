import pytest
import torch
from PIL import Image

from classification.data.datasets import DataConfig, load_dataset
from classification.data.loaders import ImageSet
from classification.data.strata import class_aware_order
from classification.seeding import make_generator
from classification.world import World

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 3, 0, 1, 0, 1, 0, 1, 0, 0])  # 6, 3, 0 and 1 images


def test_every_class_has_its_share_and_its_images_take_turns():
    """10 draws of 3 classes: 3 each, and 4 of a random one."""
    larger = set()
    for epoch in range(20):
        rows = class_aware_order(LABELS, make_generator(0, "order", epoch))
        counts = LABELS[rows].bincount(minlength=4)
        assert len(rows) == 10
        assert sorted(counts.tolist()) == [0, 3, 3, 4]
        larger.add(int(counts.argmax()))
        times = rows.bincount(minlength=10)
        assert times[LABELS == 0].max() == 1  # of the large class 3 or 4 different images
        assert times[LABELS == 1].sort().values.tolist() in ([1, 1, 1], [1, 1, 2])
    assert larger == {0, 1, 3}


def test_a_pass_is_shuffled_and_follows_its_generator():
    labels = torch.arange(60) % 2
    first, again, other = (
        class_aware_order(labels, make_generator(seed, "order")) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert labels[first].tolist() != labels[first].sort().values.tolist()
    assert first.sort().values.tolist() == list(range(60))  # of equal classes each image once


def passes(loaders, first=0):
    return [list(loader.batches(make_generator(3, "order"), first)) for loader in loaders]


def same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(batch, other, strict=True))


def test_a_balanced_pass_in_memory_begins_anywhere_and_is_the_same_in_all_processes():
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    loaders = [
        ImageSet(images, LABELS).loader(4, CPU, True, world, balanced=True)
        for world in (World(), World(0, 2), World(1, 2))
    ]
    alone, first, second = passes(loaders)
    assert torch.cat([labels for _, labels in alone]).bincount()[[0, 1, 3]].max() == 4
    same(first, alone)  # the global batch, of which each process takes its part later
    same(second, alone)
    same(passes(loaders[:1], first=1)[0], alone[1:])


@pytest.fixture
def files(tmp_path):
    """A class of six images and one of two, all the same, with a different value in each row."""
    for name, number in (("ant", 6), ("bee", 2)):
        for split in ("train", "val"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(number):
                Image.linear_gradient("L").save(folder / f"{index}.png")
    config = DataConfig(kind="folder", root=tmp_path, storage="files", image_size=16, workers=0)
    return load_dataset(config).train


def test_a_repeated_file_is_cropped_and_flipped_differently_each_time(files):
    (((images, labels),),) = passes([files.loader(8, CPU, True, balanced=True)])
    bees = images[labels == 1]
    assert len(bees) == 4
    assert len({bee.numpy().tobytes() for bee in bees}) == 4


def test_a_balanced_pass_of_files_begins_anywhere_and_is_shared_by_the_processes(files):
    loaders = [
        files.loader(4, CPU, True, world, balanced=True)
        for world in (World(), World(0, 2), World(1, 2))
    ]
    alone, first, second = passes(loaders)
    same(first, [tuple(part[::2] for part in batch) for batch in alone])
    same(second, [tuple(part[1::2] for part in batch) for batch in alone])
    same(passes(loaders[:1], first=1)[0], alone[1:])
