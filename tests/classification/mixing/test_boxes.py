import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.mixing import Boxes, compose, nest_boxes, sample_fractions

CASES = settings(deadline=None, max_examples=40, derandomize=True)
SIDES = st.integers(1, 41)
IMAGES = st.integers(2, 9)
ALPHAS = st.sampled_from([0.02, 0.2, 1.0, 5.0])
SEEDS = st.integers(0, 2**32)


def _boxes(seed: int, num_images: int, alpha: float, height: int, width: int) -> Boxes:
    generator = torch.Generator().manual_seed(seed)
    fractions = sample_fractions(alpha, (6, num_images), generator)
    return nest_boxes(fractions, height, width, generator)


def _inside(boxes: Boxes, k: int) -> torch.Tensor:
    """Membership of each pixel in box k, drawn pixel by pixel: bool [N, H, W]."""
    row = torch.arange(boxes.canvas_height)[None, :, None]
    column = torch.arange(boxes.canvas_width)[None, None, :]
    top, left, height, width = (
        side[:, k, None, None] for side in (boxes.top, boxes.left, boxes.height, boxes.width)
    )
    return (row >= top) & (row < top + height) & (column >= left) & (column < left + width)


@CASES
@given(SEEDS, IMAGES, ALPHAS, SIDES, SIDES)
def test_each_weight_is_the_share_of_pixels_its_image_owns(seed, num_images, alpha, height, width):
    boxes = _boxes(seed, num_images, alpha, height, width)
    owners, weights = boxes.owners(), boxes.weights()
    assert owners.shape == (6, height, width)
    assert owners.dtype == torch.uint8
    for k in range(num_images):
        counts = (owners == k).sum((1, 2))
        assert torch.equal(weights[:, k], counts / (height * width))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))


@CASES
@given(SEEDS, IMAGES, ALPHAS, SIDES, SIDES)
def test_boxes_nest_and_are_never_clipped(seed, num_images, alpha, height, width):
    boxes = _boxes(seed, num_images, alpha, height, width)
    for start, size, length in (
        (boxes.top, boxes.height, height),
        (boxes.left, boxes.width, width),
    ):
        end = start + size
        assert (start[:, 0] == 0).all()
        assert (end[:, 0] == length).all()
        assert (size >= 0).all()
        assert (start.diff() >= 0).all()
        assert (end.diff() <= 0).all()


@CASES
@given(SEEDS, IMAGES, ALPHAS, SIDES, SIDES)
def test_owner_is_the_number_of_boxes_holding_the_pixel(seed, num_images, alpha, height, width):
    boxes = _boxes(seed, num_images, alpha, height, width)
    expected = sum(_inside(boxes, k).byte() for k in range(1, num_images))
    assert torch.equal(boxes.owners(), expected)


@CASES
@given(SEEDS, IMAGES, ALPHAS)
def test_areas_stay_near_the_fractions_at_32_pixels(seed, num_images, alpha):
    generator = torch.Generator().manual_seed(seed)
    fractions = sample_fractions(alpha, (64, num_images), generator)
    weights = nest_boxes(fractions, 32, 32, generator).weights()
    assert (weights - fractions).abs().max() < 0.09


def test_mean_area_of_every_image_is_one_kth():
    for num_images, alpha in ((2, 1.0), (3, 1 / 3), (5, 0.2), (5, 1.0)):
        generator = torch.Generator().manual_seed(num_images)
        fractions = sample_fractions(alpha, (40_000, num_images), generator)
        mean = nest_boxes(fractions, 32, 32, generator).weights().mean(0)
        assert (mean - 1 / num_images).abs().max() < 0.01


@pytest.mark.parametrize(("num_images", "alpha"), [(2, 1.0), (3, 1 / 3), (5, 0.2), (5, 1.0)])
def test_areas_have_the_dirichlet_mean_and_covariance(num_images, alpha):
    # At 224 pixels rounding hardly moves an area: within 0.004 of what 40,000 draws should give.
    generator = torch.Generator().manual_seed(num_images)
    fractions = sample_fractions(alpha, (40_000, num_images), generator)
    areas = nest_boxes(fractions, 224, 224, generator).weights()
    mean = 1 / num_images
    variance = mean * (1 - mean) / (num_images * alpha + 1)
    covariance = torch.full((num_images, num_images), -variance / (num_images - 1))
    covariance.fill_diagonal_(variance)
    assert (areas.mean(0) - mean).abs().max() < 0.005
    assert (areas.T.cov() - covariance).abs().max() < 0.004


def test_sides_follow_the_square_root_of_the_remaining_mass():
    # R = 1, 1/4, 1/16: each side halves, twice. A last fraction of 0 leaves no box.
    fractions = torch.tensor([[3 / 4, 3 / 16, 1 / 16], [1 / 2, 1 / 2, 0], [1, 0, 0]])
    boxes = nest_boxes(fractions, 32, 16, torch.Generator().manual_seed(0))
    assert boxes.height.tolist() == [[32, 16, 8], [32, 23, 0], [32, 0, 0]]  # 32·√½ = 22.6
    assert boxes.width.tolist() == [[16, 8, 4], [16, 11, 0], [16, 0, 0]]  # 16·√½ = 11.3
    expected = [[3 / 4, 3 / 16, 1 / 16], [259 / 512, 253 / 512, 0], [1, 0, 0]]
    assert boxes.weights().tolist() == expected


def test_corners_are_uniform_over_all_places_with_both_ends():
    fractions = torch.tensor([1 / 4, 3 / 4]).expand(7000, 2)  # 8·√¾ = 6.9, so 2 places
    fractions = torch.cat([fractions, torch.tensor([15 / 16, 1 / 16]).expand(7000, 2)])  # 7 places
    boxes = nest_boxes(fractions, 8, 8, torch.Generator().manual_seed(0))
    for corner in (boxes.top[:, 1], boxes.left[:, 1]):
        assert (corner[:7000].bincount() - 3500).abs().max() < 200
        assert (corner[7000:].bincount(minlength=7) - 1000).abs().max() < 150
    assert (boxes.top[7000:, 1] != boxes.left[7000:, 1]).any()


def test_boxes_take_any_leading_dimensions():
    generator = torch.Generator().manual_seed(0)
    fractions = sample_fractions(0.3, (2, 4, 3), generator)
    boxes = nest_boxes(fractions, 7, 5, generator)
    assert boxes.owners().shape == (2, 4, 7, 5)
    assert boxes.weights().shape == (2, 4, 3)
    images, sources = torch.rand(6, 2, 7, 5), torch.randint(6, (2, 4, 3))
    mixed = boxes.compose(images, sources)
    assert mixed.shape == (2, 4, 2, 7, 5)
    assert torch.equal(mixed, compose(images, sources, boxes.owners()))
    single = nest_boxes(fractions[0, 0], 7, 5, generator)
    assert single.owners().shape == (7, 5)
    assert single.compose(images, sources[0, 0]).shape == (2, 7, 5)


@CASES
@given(SEEDS, IMAGES, SIDES, SIDES, st.integers(1, 4))
def test_every_pixel_comes_from_its_owner_at_the_same_place(
    seed, num_images, height, width, channels
):
    boxes = _boxes(seed, num_images, 1.0, height, width)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (9, channels, height, width), generator=generator).byte()
    sources = torch.randint(9, (6, num_images), generator=generator)
    expected = images[sources[:, 0]]
    for k in range(1, num_images):  # paste one box after the other, as Algorithm 1 does
        expected = torch.where(_inside(boxes, k)[:, None], images[sources[:, k]], expected)
    assert torch.equal(compose(images, sources, boxes.owners()), expected)
    assert torch.equal(boxes.compose(images, sources), expected)


def test_compose_passes_gradients_to_the_shown_pixels_only():
    images = torch.zeros(2, 2, 2, 2, requires_grad=True)
    owners = torch.tensor([[[0, 1], [1, 1]]], dtype=torch.uint8)
    sources = torch.tensor([[1, 0]])
    weight = torch.arange(8.0).view(1, 2, 2, 2)
    (compose(images, sources, owners) * weight).sum().backward()
    assert images.grad.tolist() == [
        [[[0, 1], [2, 3]], [[0, 5], [6, 7]]],
        [[[0, 0], [0, 0]], [[4, 0], [0, 0]]],
    ]


def test_compose_reads_a_strided_batch():
    images = torch.rand(5, 3, 4, 6).to(memory_format=torch.channels_last)
    sources = torch.tensor([[4, 2]])
    owners = torch.zeros(1, 4, 6, dtype=torch.uint8)
    owners[0, 1:3, 2:5] = 1
    expected = images[4].clone()
    expected[:, 1:3, 2:5] = images[2][:, 1:3, 2:5]
    assert torch.equal(compose(images, sources, owners)[0], expected)


@pytest.mark.long  # two gigabytes of address space, of which four pages are touched
def test_compose_reaches_beyond_two_to_the_31_elements():
    images = torch.empty(700_001, 3, 32, 32, dtype=torch.uint8)
    images[0], images[700_000] = 1, 2
    owners = torch.zeros(1, 32, 32, dtype=torch.uint8)
    owners[0, 4:9, 30:] = 1
    mixed = compose(images, torch.tensor([[0, 700_000]]), owners)
    assert torch.equal(mixed[0], (owners + 1).expand(3, 32, 32))
