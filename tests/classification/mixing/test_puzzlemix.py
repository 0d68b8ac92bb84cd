import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from classification.mixing import puzzlemix
from classification.mixing.puzzlemix import (
    Energy,
    PuzzleMix,
    enlarge,
    mask_energy,
    move,
    plan_moves,
    salience_by_block,
)

SIZES = pytest.mark.parametrize("size", [(32, 32), (16, 32), (9, 6), (1, 5), (64, 64)], ids=str)


def _peaky(images, labels):
    return images.float().mean(1) ** 6


def _as_pixels(images):
    return images


def _puzzlemix(**settings):
    return PuzzleMix(_peaky, _as_pixels, num_classes=7, **settings)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(size: int = 8, height: int = 32, width: int = 32, seed: int = 0):
    generator = _generator(seed)
    images = torch.randint(1, 256, (size, 3, height, width), generator=generator).float()
    return images, torch.randint(7, (size,), generator=generator)


# The mask


def _cost_of(energy, sample, labels):
    """What a labelling, an array of 0, 1 and 2, costs by the definition of `Energy`."""
    costs, down, across = (part[sample].double().numpy() for part in energy)
    own = np.take_along_axis(costs, labels[..., None], -1).sum()
    seams = (down * np.diff(labels, axis=0) ** 2).sum() + (across * np.diff(labels) ** 2).sum()
    return own + seams / 4


@pytest.mark.parametrize("grid", [(2, 2), (2, 3), (1, 4), (3, 1)], ids=str)
@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_the_cut_costs_what_the_best_of_all_labellings_costs(grid, strength):
    generator = _generator()
    rows, columns = grid
    energy = Energy(
        torch.randn(4, rows, columns, 3, generator=generator),  # convex in the label or not
        strength * torch.rand(4, rows - 1, columns, generator=generator),
        strength * torch.rand(4, rows, columns - 1, generator=generator),
    )
    found = energy.minimise().numpy()
    for sample in range(4):
        every = itertools.product(range(3), repeat=rows * columns)
        costs = [_cost_of(energy, sample, np.reshape(labels, grid)) for labels in every]
        assert _cost_of(energy, sample, found[sample]) == pytest.approx(min(costs))


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (32, 8)], ids=str)  # cells of 1, 2 × 3, 4 × 1
def test_the_energy_is_that_of_the_mosaic_it_describes(size):
    grid = (2, 2)
    generator = _generator(1)
    pixels = torch.rand(2, 3, *size, generator=generator)
    salience = salience_by_block(torch.rand(2, *size, generator=generator), grid)
    energy = mask_energy(salience, pixels, torch.tensor([1, 0]), torch.full((2, 2), 0.5), grid)
    cells = (size[0] // 4, size[1] // 4)
    first, second = nn.functional.avg_pool2d(pixels, 4)
    half = cells[0] // 2, cells[1] // 2
    surplus = []
    for labels in itertools.product((0, 1), repeat=4):
        shows_second = torch.tensor(labels).view(grid)
        mosaic = torch.where(enlarge(shows_second, cells) > 0, second, first)
        middle_row, middle_column = mosaic[:, half[0] - 1 :][:, :2], mosaic[..., half[1] - 1 :]
        down = middle_row.diff(dim=1).abs().mean(0).view(2, -1).mean(1).sum()
        across = middle_column[..., :2].diff().abs().mean(0).view(2, -1).mean(1).sum()
        unlike = shows_second.diff(dim=0).abs().sum() + shows_second.diff().abs().sum()
        unshown = torch.where(shows_second > 0, salience[0], salience[1]).sum()
        smoothness = 1.2 / 2 / 16
        expected = unshown + smoothness * (unlike + 0.5 * (down + across))
        surplus.append(_cost_of(energy, 0, 2 * shows_second.numpy()) - expected.item())
    assert np.ptp(surplus) < 1e-6


def _labels(first, second, fraction):
    """Labels of 2×2 blocks, given the salience of both images and the fraction of the first."""
    salience = torch.tensor([first, second]).view(2, 2, 2)
    fractions = torch.tensor([[fraction, 1 - fraction]] * 2, dtype=torch.float64).float()
    energy = mask_energy(salience, torch.zeros(2, 3, 8, 8), torch.tensor([1, 0]), fractions, (2, 2))
    return energy.minimise()[0].flatten().tolist()


def test_hand_worked_masks():
    left, right, even = [0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.5], [0.25] * 4
    # Two seams of 1.2 / 32 cost less than any half of 0.5 that is hidden.
    assert _labels(left, right, 0.5) == [0, 2, 0, 2]
    # Nothing to gain from either image: ¼·0.2·log 2 for halves against ¼·0.2·log 4.
    assert _labels(even, even, 0.5) == [1, 1, 1, 1]
    # To show the second costs ¼·0.2·log 10⁸ = 0.92 by the prior, and gains 0.5.
    assert _labels(left, right, 1 - 1e-6) == [0, 0, 0, 0]
    assert _labels(left, right, 1e-6) == [2, 2, 2, 2]


def test_seams_are_never_negative_weights():
    pixels = (torch.rand(8, 3, 16, 16, generator=_generator()) > 0.5).float()
    partners = torch.arange(8).flip(0)
    salience = torch.full((8, 16, 16), 1 / 256)
    energy = mask_energy(salience, pixels, partners, torch.full((8, 2), 0.5), (16, 16))
    least = (1 - 0.5) * 1.2 / 16 / 16
    assert min(energy.down.min(), energy.across.min()) >= least * 0.999


def test_salience_that_is_nowhere_is_everywhere():
    maps = torch.tensor([0.0, 1.0, float("nan"), float("inf")]).view(4, 1, 1).expand(4, 4, 6)
    assert torch.equal(salience_by_block(maps, (2, 2)), torch.full((4, 2, 2), 0.25))


# What moves


def test_a_hidden_salient_patch_takes_the_place_that_shows():
    shown = torch.tensor([[True, False], [False, False]])
    # A step costs 0.8: patch 1 gains 0.1 by it, more than patch 0 has by staying. Patch 0 then
    # finds its place at 0.95 and the next at 0.8.
    salience = torch.tensor([[0.05, 0.9], [0.05, 0.0]])
    assert plan_moves(shown[None], salience[None]).tolist() == [[1, 0, 2, 3]]
    # Gains of 0.75 do not pay a step.
    salience = torch.tensor([[0.1, 0.75], [0.15, 0.0]])
    assert plan_moves(shown[None], salience[None]).tolist() == [[0, 1, 2, 3]]


def test_the_patch_that_gains_most_wins_and_the_other_looks_again():
    # Three in a row: one step costs 0.2, two 0.8. All want place 1 and gain 0.2, 0.1 and 0.3 by it.
    # Patch 0 then stays; patch 1 asks for its place in vain, and goes to the one left free.
    shown = torch.tensor([[[False, True, False]]])
    assert plan_moves(shown, torch.tensor([[[0.4, 0.1, 0.5]]])).tolist() == [[0, 2, 1]]


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 8))
def test_no_patch_shows_twice_and_no_place_loses(seed, rows, columns):
    generator = _generator(seed)
    shown = torch.rand(5, rows, columns, generator=generator) < 0.4
    salience = salience_by_block(
        torch.rand(5, rows, columns, generator=generator) ** 9, (rows, columns)
    )
    plan = plan_moves(shown, salience)
    before, after = salience.flatten(1), salience.flatten(1).gather(1, plan)
    shown = shown.flatten(1)
    assert torch.all(after[shown] >= before[shown])
    for patches, places in zip(plan, shown, strict=True):
        assert len(set(patches[places].tolist())) == places.sum()


def test_nothing_moves_where_all_is_shown():
    salience = torch.rand(3, 4, 4, generator=_generator())
    plan = plan_moves(torch.ones(3, 4, 4, dtype=torch.bool), salience / salience.sum())
    assert torch.equal(plan, torch.arange(16).expand(3, 16))


def test_move_puts_whole_patches_in_their_places():
    image = torch.arange(24.0).view(1, 1, 4, 6)
    moved = move(image, torch.tensor([[3, 1, 2, 0]]), (2, 2))
    assert torch.equal(moved[..., :2, :3], image[..., 2:, 3:])
    assert torch.equal(moved[..., 2:, 3:], image[..., :2, :3])
    assert torch.equal(moved[..., :2, 3:], image[..., :2, 3:])


def test_a_patch_is_in_the_mix_once(monkeypatch):
    monkeypatch.setattr(puzzlemix, "_draw_grid", lambda size, generator: (4, 4))
    patches = torch.arange(8 * 64.0).view(8, 1, 8, 8)  # each of a value of its own
    images = enlarge(patches, (32, 32)).expand(8, 3, 32, 32) / 2
    saliency = enlarge(torch.rand(8, 8, 8, generator=_generator()) ** 9, (32, 32))
    mixer = PuzzleMix(lambda images, labels: saliency, _as_pixels, num_classes=8)
    moved = 0
    for seed in range(6):
        mix = mixer.mix(images, torch.arange(8), _generator(seed))
        for k in (0, 1):
            for sample in range(8):
                whole = (mix.shares[sample, k] == 1)[::4, ::4]
                values = (2 * mix.images[sample, 0, ::4, ::4])[whole].tolist()
                assert set(values) <= set(patches[mix.partners[sample, k]].flatten().tolist())
                assert len(set(values)) == len(values)
                moved += values != patches[mix.partners[sample, k], 0][whole].tolist()
    assert moved >= 4


# The mixer


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 17), st.integers(1, 17))
def test_targets_sum_to_one(seed, size, height, width):
    images, labels = _batch(size, height, width, seed)
    mixed, targets = _puzzlemix()(images, labels, _generator(seed))
    assert mixed.shape == images.shape
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(size))
    assert mixed.isfinite().all()


@SIZES
def test_weights_are_the_pixel_shares(size):
    labels = torch.arange(6)
    images = nn.functional.one_hot(labels)[:, :, None, None].expand(-1, -1, *size).float()
    mixer = PuzzleMix(
        lambda images, labels: torch.rand(6, *size, generator=_generator(3)) ** 6,
        lambda images: 255 * images,
        num_classes=6,
    )
    for seed in range(4):
        mix = mixer.mix(images, labels, _generator(seed))
        assert mix.shares.shape == (6, 2, *size)
        assert mix.shares.dtype == torch.float32
        assert torch.equal(mix.weights, mix.shares.mean((2, 3)))
        torch.testing.assert_close(mix.images.mean((2, 3)), mix.targets)
        expected = torch.zeros(6, 6).scatter_add_(1, mix.partners, mix.weights)
        torch.testing.assert_close(mix.targets, expected)
        assert mix.partners[:, 0].tolist() == list(range(6))


def test_salient_parts_are_shown():
    # Each image is salient in a quarter of its own; 4 of 6 pairs do not compete for a place.
    images, labels = _batch(32, 32, 32)
    saliency = torch.zeros(32, 32, 32)
    for sample in range(32):
        top, left = 16 * (sample % 2), 16 * (sample // 2 % 2)
        saliency[sample, top : top + 16, left : left + 16] = 1
    mixer = PuzzleMix(lambda images, labels: saliency, _as_pixels, num_classes=7)
    mix = mixer.mix(images, labels, _generator())
    shown = (mix.shares * saliency[mix.partners]).sum((2, 3)) / saliency.sum((1, 2))[0]
    apart = (mix.partners[:, 0] % 4 != mix.partners[:, 1] % 4) & (mix.weights.amin(1) > 0)
    assert apart.sum() > 10
    assert shown[apart].mean() > 0.9
    assert mix.saliency is saliency


def test_first_fraction_follows_beta():
    weights = [
        _puzzlemix(alpha=alpha).mix(*_batch(64), _generator()).weights for alpha in (0.1, 9.0)
    ]
    nearly_whole = [(weight.amax(1) > 0.95).float().mean().item() for weight in weights]
    assert nearly_whole[0] > 0.6
    assert nearly_whole[1] < 0.3


def test_no_saliency_mixes_by_the_fractions_alone():
    images, labels = _batch()
    mixer = PuzzleMix(
        lambda images, labels: torch.zeros(8, 32, 32), torch.zeros_like, num_classes=7
    )
    mix = mixer.mix(images, labels, _generator())
    assert mix.images.isfinite().all()
    assert set(mix.shares.unique().tolist()) <= {0.0, 0.5, 1.0}
    assert torch.equal(mix.shares, mix.weights[:, :, None, None].expand(-1, -1, 32, 32))
