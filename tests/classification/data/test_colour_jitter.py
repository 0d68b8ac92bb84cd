import itertools

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from classification.data.augmentation import NUM_COLOUR_DRAWS, ColourJitter

ADJUST = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)
HUE = 3
PLAIN, TURNING = ColourJitter(), ColourJitter(hue=0.2)


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def operations(number: int) -> list[int]:
    """The operations of an order in turn, by their place in `ADJUST`."""
    before, order = divmod(number, 6)
    turn = list(tuple(itertools.permutations(range(3)))[order])
    return [*turn[:before], HUE, *turn[before:]]


@pytest.mark.parametrize("order", range(24))
def test_jitter_is_torchvisions_in_every_order(order):
    """Of one level in brightness may become several in what follows; it is one in a thousand."""
    generator = torch.Generator().manual_seed(order)
    images = pixels(5, 3, 9, 11, seed=order)
    values = torch.rand(5, 4, generator=generator)
    values = torch.cat([0.6 + 0.8 * values[:, :3], 0.4 * values[:, 3:] - 0.2], 1)
    number = torch.full((5, 1), float(order))
    expected = images.clone()
    for i, kind in itertools.product(range(5), operations(order)):
        expected[i] = ADJUST[kind](expected[i], float(values[i, kind]))
    draws = torch.cat([values[:, :3], number, values[:, 3:]], 1)
    difference = (TURNING(images, draws).int() - expected.int()).abs()
    assert difference.max() <= 3
    assert (difference > 1).float().mean() <= 0.01


@pytest.mark.parametrize("order", range(6))
def test_without_a_hue_jitter_is_torchvisions_of_the_other_three(order):
    images = pixels(5, 3, 9, 11, seed=order)
    factors = 0.6 + 0.8 * torch.rand(5, 3, generator=torch.Generator().manual_seed(order))
    expected = images.clone()
    for i, kind in itertools.product(range(5), tuple(itertools.permutations(range(3)))[order]):
        expected[i] = ADJUST[kind](expected[i], float(factors[i, kind]))
    draws = torch.cat([factors, torch.full((5, 1), float(order)), torch.zeros(5, 1)], 1)
    assert (PLAIN(images, draws).int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("turn", [-0.5, -0.2, -0.01, 0.0, 0.1, 1 / 3, 0.5])
def test_the_hue_turns_as_torchvisions_does_for_every_kind_of_colour(turn):
    """Random colours, and all combinations of eight levels: grays, equal channels, black, white."""
    levels = torch.tensor([0, 1, 36, 100, 128, 200, 254, 255], dtype=torch.uint8)
    grid = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 16, 32)
    images = torch.cat([pixels(3, 3, 16, 32), grid])
    draws = torch.tensor([1.0, 1.0, 1.0, 0.0, turn]).expand(4, 5)
    turned = ColourJitter(hue=0.5)(images, draws)
    assert (turned.int() - functional.adjust_hue(images, turn).int()).abs().max() <= 1
    if turn == 0:
        assert torch.equal(turned, images)


def test_a_third_of_the_circle_turns_red_into_green():
    image = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    turned = ColourJitter(hue=0.5)(image, torch.tensor([[1.0, 1.0, 1.0, 0.0, 1 / 3]]))
    assert turned.flatten().tolist() == [0, 255, 0]


def test_brightness_alone_scales_and_rounds_down():
    image = torch.tensor([[[[10, 100]], [[20, 101]], [[30, 255]]]], dtype=torch.uint8)
    jittered = PLAIN(image, torch.tensor([[1.25, 1.0, 1.0, 0.0, 0.0]]))
    assert jittered.flatten().tolist() == [12, 125, 25, 126, 37, 255]


@pytest.mark.parametrize("jitter", [PLAIN, TURNING], ids=["no hue", "hue"])
def test_factors_of_one_change_nothing(jitter):
    image = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    assert torch.equal(jitter(image, torch.tensor([[1.0, 1.0, 1.0, 4.0, 0.0]])), image)


def test_no_jitter_leaves_the_images():
    images = pixels(2, 3, 4, 4)
    nothing = ColourJitter(strength=0.0)
    assert torch.equal(nothing(images, torch.tensor([nothing.draw([0.9] * 5)] * 2)), images)


@pytest.mark.parametrize("jitter", [PLAIN, TURNING], ids=["no hue", "hue"])
def test_an_image_is_jittered_alike_in_any_batch(jitter):
    generator = torch.Generator().manual_seed(0)
    images = pixels(7, 3, 8, 8)
    draws = torch.tensor(
        [jitter.draw(torch.rand(5, generator=generator).tolist()) for _ in range(7)]
    )
    alone = torch.cat([jitter(images[i : i + 1], draws[i : i + 1]) for i in range(7)])
    assert torch.equal(jitter(images, draws), alone)


def test_draws_span_what_torchvision_draws_from():
    theirs = v2.ColorJitter(0.4, 0.4, 0.4, 0.2)
    spans = (theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue)
    for place, (low, high) in zip((0, 1, 2, 4), spans, strict=True):
        assert TURNING.draw([0.0] * NUM_COLOUR_DRAWS)[place] == pytest.approx(low)
        assert TURNING.draw([1.0 - 1e-12] * NUM_COLOUR_DRAWS)[place] == pytest.approx(high)
    for jitter, orders in ((PLAIN, 6), (TURNING, 24)):
        drawn = [jitter.draw([0, 0, 0, u / 240, 0])[3] for u in range(240)]
        assert sorted(drawn) == sorted(list(range(orders)) * (240 // orders))
    assert len({tuple(operations(n)) for n in range(24)}) == 24
