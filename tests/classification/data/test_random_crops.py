import math

import pytest
import torch
from torchvision.transforms import v2

from classification.data.augmentation import NUM_CROP_DRAWS, random_box


def test_a_box_has_the_area_and_shape_that_were_drawn():
    # An area of 0.54 in 100×200 pixels and a ratio of 1 make a side of 103.9, which is too wide;
    # the second try has 0.2032 of the area, a side of 63.7.
    numbers = [0.5, 0.5, 0.0, 0.0, (0.2032 - 0.08) / 0.92, 0.5, 0.5, 0.99] + [0.0] * (
        NUM_CROP_DRAWS - 8
    )
    assert random_box((100, 200), numbers) == (18, 135, 64, 64)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((1000, 10), (493, 0, 13, 10)),
        ((10, 1000), (0, 493, 10, 13)),
        ((12, 10), (0, 0, 12, 10)),
    ],
)
def test_where_no_box_fits_the_middle_is_taken(size, box):
    # The whole area at ratio 3/4 fits none of these images.
    numbers = [1.0, 0.0, 0.0, 0.0] * (NUM_CROP_DRAWS // 4)
    assert random_box(size, numbers) == box


def test_boxes_are_spread_as_torchvisions():
    size, count = (500, 375), 3000
    theirs = v2.RandomResizedCrop(224)
    image = torch.empty(1, size[1], size[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = [theirs.make_params([image]) for _ in range(count)]
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(count, NUM_CROP_DRAWS, generator=generator, dtype=torch.float64).tolist()
    ours = torch.tensor([random_box(size, numbers) for numbers in drawn]).double()
    keys = ("left", "top", "width", "height")
    reference = torch.tensor([[params[key] for key in keys] for params in expected]).double()
    # Means and deviations of 3,000 draws differ by less than five standard errors.
    error = 5 * ours.std(0) * math.sqrt(2 / count)
    assert ((ours.mean(0) - reference.mean(0)).abs() < error).all()
    assert ((ours.std(0) - reference.std(0)).abs() < error).all()


def test_every_box_lies_in_its_image():
    generator = torch.Generator().manual_seed(2)
    for size in ((3, 2), (50, 300), (1, 1), (640, 480)):
        for numbers in torch.rand(200, NUM_CROP_DRAWS, generator=generator).tolist():
            left, top, width, height = random_box(size, numbers)
            assert 0 <= left <= left + width <= size[0]
            assert 0 <= top <= top + height <= size[1]
            assert min(width, height) > 0
