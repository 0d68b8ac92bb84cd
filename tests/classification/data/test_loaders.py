import pytest
import torch

from classification.data.loaders import ImageSet
from classification.seeding import make_generator

CPU = torch.device("cpu")


def loader(number, batch_size, training=True):
    images = torch.arange(number, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return ImageSet(images, torch.arange(number)).loader(batch_size, CPU, training)


def labels_of(batches):
    return torch.cat([labels for _, labels in batches]).tolist()


def test_a_training_pass_shows_every_image_once_with_its_label():
    batches = list(loader(10, 4).batches(make_generator(0, "order")))
    labels = labels_of(batches)
    assert sorted(labels) == list(range(10))
    assert labels != list(range(10))
    assert all(
        torch.equal(images[:, 0, 0, 0], labels.to(torch.uint8)) for images, labels in batches
    )


@pytest.mark.parametrize("number", [8, 9, 10])
def test_an_evaluation_shows_every_image_in_the_datasets_order(number):
    evaluation = loader(number, 4, training=False)
    batches = list(evaluation.batches())
    assert labels_of(batches) == list(range(number))
    assert len(batches) == len(evaluation)
    assert list(evaluation.batches(first=len(evaluation))) == []


@pytest.mark.parametrize(
    ("number", "batch_size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_a_training_pass_has_no_stray_single_image(number, batch_size, sizes):
    shuffled = loader(number, batch_size)
    batches = list(shuffled.batches(make_generator(0, "order")))
    assert [len(labels) for _, labels in batches] == sizes
    assert len(shuffled) == len(sizes)


def test_a_pass_can_begin_with_any_of_its_batches():
    everything = labels_of(loader(10, 4).batches(make_generator(0, "order")))
    rest = labels_of(loader(10, 4).batches(make_generator(0, "order"), first=1))
    assert rest == everything[4:]


def test_training_alone_is_ordered_by_a_generator():
    with pytest.raises(AssertionError, match="ordered by a generator"):
        list(loader(4, 2).index_batches())
    with pytest.raises(AssertionError, match="dataset's order"):
        list(loader(4, 2, training=False).index_batches(torch.Generator()))
