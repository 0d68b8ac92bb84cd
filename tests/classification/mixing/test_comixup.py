import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from classification.mixing import comixup
from classification.mixing.comixup import CoMixup, arrange, objective, swap
from classification.mixing.puzzlemix import enlarge

SIZES = pytest.mark.parametrize("size", [(32, 32), (16, 32), (9, 6), (1, 5)], ids=str)


def _blotchy(images, labels):
    """Salient in some of 4×4 blocks, so that mixes of several images pay."""
    size = images.shape[2:]
    blocks = torch.rand(len(images), min(4, size[0]), min(4, size[1]), generator=_generator(5))
    return enlarge(blocks**6, tuple(size))


def _comixup(**settings):
    return CoMixup(_blotchy, num_classes=7, **settings)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(size: int = 8, height: int = 32, width: int = 32, seed: int = 0):
    generator = _generator(seed)
    images = torch.randint(1, 256, (size, 3, height, width), generator=generator).float()
    return images, torch.randint(7, (size,), generator=generator)


# The labelling of one mix


def _energy(unary, binary, labels):
    own = sum(unary[place][labels[place]] for place in np.ndindex(labels.shape))
    down = sum(binary[pair] for pair in zip(labels[:-1].flat, labels[1:].flat, strict=True))
    across = sum(binary[pair] for pair in zip(labels[:, :-1].flat, labels[:, 1:].flat, strict=True))
    return own + down + across


@pytest.mark.parametrize("grid", [(2, 2), (2, 3), (1, 5)], ids=str)
def test_swaps_of_two_labels_find_the_best_labelling(grid):
    numbers = np.random.default_rng(0)
    for strength in (0.05, 0.3, 2.0):
        unary, binary = numbers.random((*grid, 2)), strength * (1 - np.eye(2))
        every = itertools.product(range(2), repeat=grid[0] * grid[1])
        least = min(_energy(unary, binary, np.reshape(labels, grid)) for labels in every)
        assert _energy(unary, binary, swap(unary, binary)) == pytest.approx(least)


def test_no_exchange_of_two_labels_betters_the_swaps():
    numbers = np.random.default_rng(1)
    for strength in (0.05, 0.3, 2.0):
        unary, binary = numbers.random((3, 3, 4)), strength * (1 - np.eye(4))
        labels = swap(unary, binary)
        reached = _energy(unary, binary, labels)
        assert reached <= _energy(unary, binary, unary.argmin(-1))
        for first, second in itertools.combinations(range(4), 2):
            places = np.argwhere((labels == first) | (labels == second))
            for exchange in itertools.product((first, second), repeat=len(places)):
                other = labels.copy()
                other[tuple(places.T)] = exchange
                assert _energy(unary, binary, other) >= reached - 1e-9


# The mixes together


def _costs(numbers, images, rows, columns):
    salience = numbers.random((images, rows, columns)) ** 4
    return -salience / salience.sum((1, 2), keepdims=True)


def _least(costs, incompatibility):
    """The objective's minimum over all that the halves of all blocks may show."""
    images = len(costs)
    pairs = itertools.combinations_with_replacement(range(images), 2)
    choices = np.array(list(pairs))
    every = itertools.product(range(len(choices)), repeat=costs.size)
    return min(
        objective(choices[np.reshape(labels, costs.shape)], costs, incompatibility)
        for labels in every
    )


@pytest.mark.parametrize(("images", "rows", "columns"), [(2, 2, 2), (2, 1, 3), (3, 1, 1)])
def test_mixes_are_near_the_best_of_all(images, rows, columns):
    # With nothing tolerated, each mix's own minimum lowers the common objective.
    numbers = np.random.default_rng(0)
    for _ in range(2 if images == 2 else 10):
        costs = _costs(numbers, images, rows, columns)
        far_apart = numbers.random((images, images)) * 0.01
        incompatibility = np.eye(images) + far_apart + far_apart.T
        start = numbers.integers(0, images, (images, rows, columns))
        before = objective(np.stack([start, start], -1), costs, incompatibility)
        shown = arrange(costs, incompatibility, start, tolerated=0.0)
        after, least = objective(shown, costs, incompatibility), _least(costs, incompatibility)
        assert after <= before
        assert after - least <= 0.35 * (before - least)
        if images == 2:
            assert after == pytest.approx(least)


def test_objective_by_hand():
    costs = -np.array([[[0.7, 0.3]], [[0.2, 0.8]]])
    shown = np.array([[[[0, 0], [1, 1]]], [[[0, 1], [1, 1]]]])
    # Mix 0 shows 0.7 + 0.8, mix 1 (0.7 + 0.2) / 2 + 0.8; one whole seam, one of a quarter. Image 0
    # is on 1 and 0.5 blocks, image 1 on 1 and 1.5: with incompatibility 0.1 both mixes have
    # 2·(0.5 + 1.5 + 0.1·(1·1.5 + 1·0.5)) in common.
    expected = -1.5 - 1.25 + (0.32 * 1.25 + 2 * (2 + 0.1 * 2)) / 2
    incompatibility = np.array([[1, 0.1], [0.1, 1]])
    assert objective(shown, costs, incompatibility) == pytest.approx(expected)


def test_salient_blocks_are_shown_by_every_mix_that_may():
    # What is tolerated is 0.83 of 4 blocks, and the other mix shows each image on 2.
    left, right = [[-0.5, 0], [-0.5, 0]], [[0, -0.5], [0, -0.5]]
    start = np.array([[[1, 0], [1, 0]]] * 2)
    shown = arrange(np.array([left, right]), np.eye(2), start)
    assert shown[..., 0].tolist() == [[[0, 1], [0, 1]]] * 2
    assert np.array_equal(shown[..., 0], shown[..., 1])


def test_overused_images_are_left_to_the_others():
    # One block, three images of equal salience. The first mix leaves image 0, which the others
    # show, for the first of the rest; the second has only image 2 left, and the third 0.
    costs = np.full((3, 1, 1), -1.0)
    shown = arrange(costs, np.eye(3), np.zeros((3, 1, 1), dtype=np.int64))
    assert shown.reshape(3, 2).tolist() == [[1, 1], [2, 2], [0, 0]]


def test_mixes_of_the_same_images_are_told_apart():
    shows = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 1]], dtype=bool)
    assert comixup._tell_apart(shows).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_images_salient_far_apart_are_incompatible():
    saliency = torch.zeros(3, 16, 16)
    saliency[0, :8, :8] = 1
    saliency[1, 8:, 8:] = 1  # 8 rows and 8 columns from the first
    saliency[2, :8, 5:13] = 1  # 5 columns from the first, 8 rows and 3 columns from the second
    places = comixup._most_salient_places(saliency)
    assert places.tolist() == [[0, 0], [8, 8], [0, 5]]
    distance = torch.tensor([[0, 16, 5], [16, 0, 11], [5, 11, 0]])
    expected = 0.999 * torch.eye(3) + 0.001 * distance * 3 / 64
    torch.testing.assert_close(comixup._incompatibility(places), expected)
    assert torch.equal(comixup._incompatibility(places[:1]), torch.tensor([[0.999]]))


# The mixer


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 17), st.integers(1, 17))
def test_targets_sum_to_one(seed, size, height, width):
    images, labels = _batch(size, height, width, seed)
    mixed, targets = _comixup()(images, labels, _generator(seed))
    assert mixed.shape == images.shape
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(size))
    assert mixed.isfinite().all()


@SIZES
def test_weights_are_the_pixel_shares(size):
    labels = torch.arange(6)
    images = nn.functional.one_hot(labels)[:, :, None, None].expand(-1, -1, *size).float()
    mix = CoMixup(_blotchy, num_classes=6).mix(images, labels, _generator())
    assert mix.shares.shape == (6, 6, *size)
    assert mix.shares.dtype == torch.float32
    assert torch.equal(mix.weights, mix.shares.mean((2, 3)))
    torch.testing.assert_close(mix.images.mean((2, 3)), mix.targets)
    expected = torch.zeros(6, 6).scatter_add_(1, mix.partners, mix.weights)
    torch.testing.assert_close(mix.targets, expected)


def test_shares_compose_the_mixes():
    images, labels = _batch(7)
    mix = _comixup().mix(images, labels, _generator())
    expected = torch.einsum("nkhw,nkchw->nchw", mix.shares, images[mix.partners])
    torch.testing.assert_close(mix.images, expected)
    assert (mix.shares == 0.5).any()
    assert ((mix.weights > 0).sum(1) > 1).float().mean() > 0.5
    assert torch.equal(mix.saliency, _blotchy(images, labels))


def test_mixes_show_more_salience_than_the_images_have():
    images, labels = _batch(20)
    mix = _comixup().mix(images, labels, _generator())
    salience = mix.saliency / mix.saliency.sum((1, 2), keepdim=True)
    shown = (salience[mix.partners] * mix.shares).sum((1, 2, 3))
    assert shown.mean() > 1.2  # an image that is not mixed shows 1
    use = torch.zeros(20).scatter_add_(0, mix.partners.flatten(), mix.weights.flatten())
    assert use.max() < 3  # of 20 mixes


def test_partners_are_the_members_of_a_partition():
    images, labels = _batch(23, 4, 4)
    mix = _comixup().mix(images, labels, _generator())
    assert mix.partners.shape == mix.weights.shape == (23, 20)
    assert mix.partners[:, 0].tolist() == list(range(23))
    assert mix.partners[5].tolist() == [*range(5, 20), *range(5)]
    assert mix.partners[21].tolist() == [21, 22, 20] + 17 * [21]
    assert mix.weights[20:, 3:].sum() == 0
    torch.testing.assert_close(mix.weights.sum(1), torch.ones(23))


def test_partitions_do_not_depend_on_what_follows():
    images, labels = _batch(23, 4, 4)
    saliency = _blotchy(images, labels)
    mixer = CoMixup(lambda images, labels: saliency[: len(images)], num_classes=7)
    both = mixer.mix(images, labels, _generator())
    alone = mixer.mix(images[:20], labels[:20], _generator())
    assert torch.equal(both.images[:20], alone.images)


def test_no_saliency_mixes_by_the_fractions_and_uses_all_images():
    # The prior alone tells the images apart, and what is tolerated limits the use of each.
    images, labels = _batch(20)
    mixer = CoMixup(lambda images, labels: torch.zeros(20, 32, 32), 0.1, num_classes=7)
    mix = mixer.mix(images, labels, _generator())
    assert mix.images.isfinite().all()
    use = torch.zeros(20).scatter_add_(0, mix.partners.flatten(), mix.weights.flatten())
    assert use.max() <= 2
    assert (use > 0).float().mean() > 0.7
