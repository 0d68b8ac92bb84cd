import pytest
import torch

from classification.data.loaders import DeviceLoader
from classification.seeding import make_generator


def loader(number, batch_size):
    images = torch.arange(number, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return DeviceLoader(images, torch.arange(number), batch_size)


def test_an_epoch_shows_every_image_once_with_its_label():
    batches = list(loader(10, 4).epoch(make_generator(0, "order")))
    labels = torch.cat([labels for _, labels in batches])
    assert sorted(labels.tolist()) == list(range(10))
    assert labels.tolist() != list(range(10))
    assert all(
        torch.equal(images[:, 0, 0, 0], labels.to(torch.uint8)) for images, labels in batches
    )


def test_without_a_generator_the_order_is_the_datasets():
    labels = torch.cat([labels for _, labels in loader(9, 4).epoch()])
    assert labels.tolist() == list(range(9))


@pytest.mark.parametrize(
    ("number", "batch_size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_a_shuffled_epoch_has_no_stray_single_image(number, batch_size, sizes):
    shuffled = loader(number, batch_size)
    batches = list(shuffled.epoch(make_generator(0, "order")))
    assert [len(labels) for _, labels in batches] == sizes
    assert len(shuffled) == len(sizes)
