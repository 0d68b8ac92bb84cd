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


def test_a_pass_ends_where_another_step_would_lead_further_from_its_time(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    meter.settling = False
    loader = brief(meter).loader(2, CPU, training=True)
    assert go_through(loader.batches(make_generator(0, "order")), clock, 3.0) == 2  # 6, not 9
    assert go_through(loader.batches(make_generator(0, "order")), clock, 4.0) == 1  # 4, not 8


def test_a_pass_that_settles_repeats_a_batch_and_a_short_one_is_whole(clock):
    meter = Meter(CPU, seconds=60.0, clock=clock)
    loader = brief(meter).loader(4, CPU, training=False)
    assert go_through(loader.batches(), clock, 1.0) == 2
    meter.settling = False
    assert go_through(loader.batches(), clock, 1.0) == 3  # of 4, 4 and 2 images
    settling, whole = meter.take()
    assert (settling.seen, settling.whole, settling.training) == (4, False, False)
    assert (settling.elapsed, settling.added) == (2.0, 1.0)  # a real pass has one of the steps
    assert (whole.seen, whole.whole, whole.all_seconds) == (10, True, 3.0)


class Steps:
    """Takes batches of up to 50 of `number` images: `fixed` seconds a step and `each` an image.
    The first step on a new number of images takes 3 seconds more."""

    def __init__(self, meter, clock, number=300):
        self.loader = brief(meter, number).loader(50, CPU, training=True)
        self.clock, self.known = clock, set()

    def go(self, fixed, each):
        """Return the images of each step."""
        sizes = []
        for (rows,) in self.loader.index_batches(make_generator(0, "order")):
            sizes.append(len(rows))
            new = len(rows) not in self.known
            self.known.add(len(rows))
            self.clock.time += fixed + each * len(rows) + 3.0 * new
        return sizes


def test_batches_on_a_cpu_are_complete_if_a_step_fits_into_the_time(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    steps = Steps(meter, clock)
    # A step of 4 images takes 1.25 s and one of 16 takes 2 s, so one of 50 takes 4.125 s: in
    # proportion to the smaller ones, or with the preparing of the first, it would seem not to fit.
    assert steps.go(1.0, 0.0625) == [4, 4, 16, 16, 50]
    (settling,) = meter.take()
    assert settling.elapsed - settling.added == 4.125 + 3
    meter.settling = False
    assert steps.go(1.0, 0.0625) == [50]
    assert meter.cut is None
    (measured,) = meter.take()
    assert (measured.seen, measured.all_seconds) == (50, pytest.approx(6 * 4.125))


def test_batches_that_do_not_fit_are_cut_and_complete_ones_follow_from_the_line(clock):
    meter = Meter(CPU, seconds=6.0, clock=clock)
    steps = Steps(meter, clock)
    assert steps.go(1.0, 0.125) == [4, 4, 16, 16, 40]  # 1.5 and 3 s; 40 images take 6 s
    meter.settling = False
    assert steps.go(1.0, 0.125) == [40]
    assert meter.cut == 40
    settling, measured = meter.take()
    assert (settling.seen, measured.seen, measured.whole) == (40, 40, False)
    # Six steps of 1 + 50 / 8 s; in proportion to the 40 images they would take 45 s.
    assert measured.all_seconds == pytest.approx(6 * 7.25)


def test_images_of_which_a_few_take_the_time_are_tried_in_one_number(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    steps = Steps(meter, clock)
    assert steps.go(0.0, 0.5) == [4, 4, 10]  # 16 images would take 8 s
    meter.settling = False
    assert steps.go(0.0, 0.5) == [10]
    assert meter.take()[1].all_seconds == pytest.approx(150.0)


def test_a_line_is_drawn_through_twice_the_images_at_least_or_not_at_all(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    steps = Steps(meter, clock)
    assert steps.go(0.0, 1.0) == [4, 4, 8]  # though 5 images would fit
    steps = Steps(meter, clock)
    assert steps.go(0.0, 2.0) == [4, 4]
    meter.settling = False
    meter.take()
    assert steps.go(0.0, 2.0) == [4]
    assert meter.take()[0].all_seconds == pytest.approx(600.0)


def test_batches_whose_steps_take_less_than_a_second_are_never_cut(clock):
    meter = Meter(CPU, seconds=0.01, clock=clock)
    steps = Steps(meter, clock)
    assert steps.go(0.125, 1 / 64) == [4, 4, 16, 16, 50]  # 0.19, 0.375 and 0.91 s
    meter.settling = False
    assert steps.go(0.125, 1 / 64) == [50]
    assert meter.cut is None


def test_an_epoch_of_one_step_is_tried_on_its_complete_batch(clock):
    meter = Meter(CPU, seconds=5.0, clock=clock)
    steps = Steps(meter, clock, number=30)
    assert steps.go(1.0, 0.0625) == [4, 4, 16, 16, 30]
    meter.settling = False
    assert steps.go(1.0, 0.0625) == [30]
    whole = meter.take()[1]
    assert (whole.whole, whole.all_seconds) == (True, 2.875)


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
    assert [len(labels) for _, labels in loader.batches(make_generator(0, "order"))] == [2, 2]
    meter.settling = False
    assert len(list(loader.batches(make_generator(0, "order")))) == 3
    assert [each.whole for each in meter.take()] == [False, True]
