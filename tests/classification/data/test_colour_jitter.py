import itertools

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from classification.data.augmentation import STRENGTH, draw_colours, jitter_colours

ADJUST = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)


@pytest.mark.parametrize("order", range(6))
def test_jitter_is_torchvisions_in_every_order(order):
    generator = torch.Generator().manual_seed(order)
    images = torch.randint(256, (5, 3, 9, 11), generator=generator, dtype=torch.uint8)
    factors = 0.6 + 0.8 * torch.rand(5, 3, generator=generator)
    draws = torch.cat([factors, torch.full((5, 1), float(order))], 1)
    expected = images.clone()
    for i, kind in itertools.product(range(5), tuple(itertools.permutations(range(3)))[order]):
        expected[i] = ADJUST[kind](expected[i], float(factors[i, kind]))
    assert (jitter_colours(images, draws).int() - expected.int()).abs().max() <= 1


def test_brightness_alone_scales_and_rounds_down():
    image = torch.tensor([[[[10, 100]], [[20, 101]], [[30, 255]]]], dtype=torch.uint8)
    jittered = jitter_colours(image, torch.tensor([[1.25, 1.0, 1.0, 0.0]]))
    assert jittered.flatten().tolist() == [12, 125, 25, 126, 37, 255]


def test_factors_of_one_change_nothing():
    image = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    assert torch.equal(jitter_colours(image, torch.tensor([[1.0, 1.0, 1.0, 4.0]])), image)


def test_an_image_is_jittered_alike_in_any_batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (7, 3, 8, 8), generator=generator, dtype=torch.uint8)
    draws = torch.tensor(
        [draw_colours(torch.rand(4, generator=generator).tolist()) for _ in range(7)]
    )
    alone = torch.cat([jitter_colours(images[i : i + 1], draws[i : i + 1]) for i in range(7)])
    assert torch.equal(jitter_colours(images, draws), alone)


def test_draws_span_what_torchvision_draws_from():
    theirs = v2.ColorJitter(STRENGTH, STRENGTH, STRENGTH)
    for low, high in (theirs.brightness, theirs.contrast, theirs.saturation):
        assert draw_colours([0.0] * 4)[:3] == pytest.approx([low] * 3)
        assert draw_colours([1.0 - 1e-12] * 4)[:3] == pytest.approx([high] * 3)
    assert {draw_colours([0, 0, 0, u / 60])[3] for u in range(60)} == set(range(6))
