"""Passes that end early: what is yielded, what is timed, what stays as it was."""

import pytest
import torch
from PIL import Image

from classification.data.datasets import DataConfig, load_dataset
from classification.data.loaders import ImageSet
from classification.seeding import make_generator
from pipeline.estimates.brief_images import BriefSet, Meter, brief_dataset

CPU = torch.device("cpu")


class Clock:
    """Stands still but for what is added to it."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


def images(number=10):
    return ImageSet(torch.zeros(number, 3, 8, 8, dtype=torch.uint8), torch.arange(number) % 2)


def brief(meter, number=10):
    part = images(number)
    return BriefSet(part.images, part.labels, meter)


def go_through(batches, clock, seconds):
    """How many batches there are, each worked on for so long."""
    number = 0
    for _ in batches:
        clock.time += seconds
        number += 1
    return number


def test_a_pass_ends_once_it_has_lasted_long_enough(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    meter.settling = False
    loader = brief(meter).loader(2, CPU, training=True)
    assert (
        go_through(loader.batches(make_generator(0, "order")), clock, 2.0) == 3
    )  # 2, 4, 6 seconds
    (seen,) = meter.take()
    assert (seen.training, seen.of, seen.seen, seen.elapsed) == (True, 10, 6, 6.0)
    assert not seen.whole
    assert seen.seconds_per_image == 1.0
    assert seen.all_seconds == 10.0
    assert meter.take() == ()


def test_a_pass_that_settles_is_one_batch_and_a_short_one_is_whole(clock):
    meter = Meter(CPU, seconds=60.0, clock=clock)
    loader = brief(meter).loader(4, CPU, training=False)
    assert go_through(loader.batches(), clock, 1.0) == 1
    meter.settling = False
    assert go_through(loader.batches(), clock, 1.0) == 3  # of 4, 4 and 2 images
    settling, whole = meter.take()
    assert (settling.seen, settling.whole, settling.training) == (4, False, False)
    assert (whole.seen, whole.whole, whole.all_seconds) == (10, True, 3.0)


def test_batches_grow_until_one_takes_long_and_later_ones_have_as_many_images_as_fit(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    sizes = []

    def go(seconds_per_image):
        for (rows,) in (
            brief(meter, 300)
            .loader(50, CPU, training=True)
            .index_batches(make_generator(0, "order"))
        ):
            sizes.append(len(rows))
            clock.time += seconds_per_image * len(rows)

    go(0.25)
    assert sizes == [4, 16]  # 1 and 4 seconds; 64 images would take 16 more
    meter.settling = False
    sizes.clear()
    go(0.25)
    assert sizes == [20]  # 5 seconds
    assert meter.cut == 20
    settling, measured = meter.take()
    assert (settling.seen, measured.seen, measured.whole) == (20, 20, False)
    assert measured.all_seconds == 75.0  # 300 images
    meter.settling = True
    sizes.clear()
    go(0.001)
    assert sizes == [4, 16, 50]
    meter.settling = False
    sizes.clear()
    go(0.001)
    assert sizes == [50] * 6


def test_the_pace_counts_from_after_the_first_batches(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    meter.settling = False
    loader = images(20).loader(2, CPU, training=True)
    for number, _ in enumerate(meter.watch((n for n in range(10)), loader, skipped=2)):
        clock.time += 4.0 if number < 2 else 0.5  # enough after the second, but for the pace
    (seen,) = meter.take()
    assert (seen.seen, seen.elapsed) == (6, 8.5)
    assert (seen.images, seen.seconds) == (2, 0.5)
    assert seen.all_seconds == 5.0  # 20 images at a quarter of a second


def test_a_pass_within_another_belongs_to_it(clock):
    meter = Meter(CPU, seconds=60.0, clock=clock)
    meter.settling = False
    outer, inner = (brief(meter).loader(5, CPU, training=True) for _ in range(2))
    for _ in outer.batches(make_generator(0, "outer")):
        assert go_through(inner.index_batches(make_generator(0, "inner")), clock, 1.0) == 2
    (seen,) = meter.take()
    assert seen.elapsed == 4.0


def test_batches_are_those_of_the_dataset_itself():
    dataset = load_dataset(DataConfig(kind="digits", classes=2))
    meter = Meter(CPU, seconds=60.0)
    meter.settling = False
    short = brief_dataset(dataset, meter)
    assert short.content_hash == dataset.content_hash
    subset = torch.tensor([5, 1, 9])
    for mine, theirs in (
        (short.train, dataset.train),
        (short.test, dataset.test),
        (short.train.take(subset), dataset.train.take(subset)),
        (short.with_train([1, 2]).train, dataset.with_train([1, 2]).train),
    ):
        pairs = zip(
            mine.loader(32, CPU, training=True).batches(make_generator(0, "o")),
            theirs.loader(32, CPU, training=True).batches(make_generator(0, "o")),
            strict=True,
        )
        for own, other in pairs:
            assert torch.equal(own[0], other[0])
            assert torch.equal(own[1], other[1])
    assert len(meter.take()) == 4


def test_images_in_files_are_passed_briefly_too(tmp_path):
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(4):
                Image.new("RGB", (16, 16)).save(tmp_path / split / name / f"{index}.png")
    config = DataConfig(kind="folder", root=tmp_path, image_size=16, storage="files", workers=0)
    meter = Meter(CPU, seconds=60.0)
    short = brief_dataset(load_dataset(config), meter)
    loader = short.train.take(torch.arange(6)).loader(2, CPU, training=True)
    assert len(list(loader.batches(make_generator(0, "order")))) == 1
    meter.settling = False
    assert len(list(loader.batches(make_generator(0, "order")))) == 3
    assert [each.whole for each in meter.take()] == [False, True]
