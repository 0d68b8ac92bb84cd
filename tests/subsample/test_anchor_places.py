"""Where the scored image lies in its mixes, how much it keeps, and what of it is seen."""

import pytest
import torch
from torch import Tensor, nn

from subsample.config import ScoresConfig
from subsample.mixes import draw_mixes
from subsample.visibility import measure_visibility

SIDE = 32


def images(number: int = 12, side: int = SIDE) -> Tensor:
    return torch.zeros(number, 3, side, side, dtype=torch.uint8)


def mixes(anchors: int = 12, **settings):
    config = ScoresConfig(**{"draws": 100} | settings)
    return draw_mixes(torch.arange(anchors), images(), config, seed=0, block=0)


@pytest.mark.parametrize("common_draws", [False, True])
@pytest.mark.parametrize("fraction", ["fixed", "dirichlet"])
@pytest.mark.parametrize("anchor", ["canvas", "patch", "any"])
def test_weights_are_pixel_counts_and_the_anchor_is_source_0(anchor, fraction, common_draws):
    drawn = mixes(anchor=anchor, fraction=fraction, common_draws=common_draws, num_images=4)
    counts = nn.functional.one_hot(drawn.owners.long(), 4).sum((2, 3))
    torch.testing.assert_close(drawn.weights, counts / SIDE**2)
    assert (drawn.sources[..., 0] == torch.arange(12)[:, None]).all()
    assert (drawn.sources[..., 1:] != torch.arange(12)[:, None, None]).all()


def test_a_patch_is_one_box_of_its_fraction_that_nothing_hides():
    visible = mixes(anchor="patch").owners == 0
    rows, columns = visible.any(-1).sum(-1), visible.any(-2).sum(-1)
    assert torch.equal(rows * columns, visible.sum((2, 3)))  # a full rectangle
    # A square of round(√(5/9) · 32) = 24 pixels a side, wherever the boxes around it allow it.
    assert visible.sum((2, 3)).float().mean() / SIDE**2 == pytest.approx(5 / 9, abs=0.02)


def test_the_anchor_has_each_place_in_a_third_of_the_mixes():
    owners = mixes(anchor="any").owners
    at_the_corner = owners[:, :, 0, 0] == 0  # of the canvas, if no box touches that corner
    patch, canvas = (mixes(anchor=each).owners[:, :, 0, 0] == 0 for each in ("patch", "canvas"))
    visible = (owners == 0).flatten(2).double().mean(-1)
    assert visible.mean().item() == pytest.approx(5 / 9, abs=0.02)
    between = patch.float().mean() < at_the_corner.float().mean() < canvas.float().mean()
    assert between


def test_fractions_of_training_have_the_mean_and_deviation_of_their_distribution():
    share = mixes(fraction="dirichlet", draws=340).weights[..., 0].double()
    # Dir(1/3, 1/3, 1/3): mean 1/3, variance (1/3 · 2/3) / (1 + 1) = 1/9; pixels round.
    assert share.mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert share.std().item() == pytest.approx(1 / 3, abs=0.02)
    assert ScoresConfig(fraction="dirichlet").alpha == 1 / 3
    assert ScoresConfig(fraction="dirichlet", num_images=5).alpha == 1 / 5
    assert ScoresConfig(fraction="dirichlet", alpha=1.0).alpha == 1.0
    assert ScoresConfig().alpha == 2 / 9


def test_a_fixed_canvas_never_shows_its_middle_and_a_patch_shows_it_most():
    """The numbers of docs/method.md, worked out from the sizes of the boxes."""
    found = measure_visibility(images(60), ScoresConfig(draws=100), seed=0)
    assert found.mixes == 60 * 100
    # The outer box has 21 of 32 pixels a side (√(4/9) · 32 = 21.3), so rows 11 to 20 are in it
    # at each of its 12 places: the central 10×10 pixels.
    assert (found.seen == 0).sum() == 10 * 10
    assert (found.seen[11:21, 11:21] == 0).all()
    assert found.mean == found.smallest == found.largest == 1 - (21 / 32) ** 2
    third = measure_visibility(images(60), ScoresConfig(draws=100, anchor_fraction=1 / 3), seed=0)
    assert (third.seen == 0).sum() == 20 * 20  # 26 of 32 a side: 0.39 of all pixels
    patch = measure_visibility(images(60), ScoresConfig(draws=100, anchor="patch"), seed=0)
    assert patch.middle == pytest.approx(1, abs=0.01)
    assert patch.seen[0, 0] < 0.2
    anywhere = measure_visibility(images(60), ScoresConfig(draws=100, anchor="any"), seed=0)
    assert 0.2 < anywhere.middle < 0.8


@pytest.mark.parametrize(("side", "share"), [(8, 0.609), (16, 0.527), (32, 0.569)])
def test_a_fraction_is_realised_in_whole_pixels(side, share):
    config = ScoresConfig(draws=10)
    found = measure_visibility(images(9, side), config, seed=0)
    assert found.mean == pytest.approx(share, abs=5e-4)
