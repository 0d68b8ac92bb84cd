from itertools import product

import numpy as np
import pytest

from classification.mixing.graph_cut import cut_grids


def energy(labels, unary, below, beside):
    height, width = labels.shape
    own = sum(unary[y, x, labels[y, x]] for y in range(height) for x in range(width))
    down = (below * np.diff(labels, axis=0) ** 2).sum()
    across = (beside * np.diff(labels, axis=1) ** 2).sum()
    return own + down + across


def least_energy(unary, below, beside):
    height, width, number = unary.shape
    return min(
        energy(np.array(labels).reshape(height, width), unary, below, beside)
        for labels in product(range(number), repeat=height * width)
    )


@pytest.mark.parametrize("labels", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 3), (1, 4), (3, 1)])
@pytest.mark.parametrize("strength", [1, 30, 400])
def test_no_labelling_has_less_energy(labels, height, width, strength):
    random = np.random.default_rng(labels + 7 * height + strength)
    unary = random.integers(-500, 500, (5, height, width, labels))
    below = random.integers(0, strength, (5, height - 1, width))
    beside = random.integers(0, strength, (5, height, width - 1))
    found = cut_grids(unary, below, beside)
    assert found.shape == (5, height, width)
    for grid, costs, down, across in zip(found, unary, below, beside, strict=True):
        assert energy(grid, costs, down, across) == least_energy(costs, down, across)


def test_without_weights_each_site_takes_its_cheapest_label():
    unary = np.random.default_rng(0).integers(0, 1000, (3, 4, 5, 3))
    nothing = np.zeros((3, 3, 5), np.int64), np.zeros((3, 4, 4), np.int64)
    assert (cut_grids(unary, *nothing) == unary.argmin(-1)).all()


def test_heavy_weights_give_each_grid_one_label():
    # The sums of the columns decide: grid 0 has 3 < 5, grid 1 has 5 > 4.
    unary = np.array([[[[1, 0], [2, 5]]], [[[5, 1], [0, 3]]]])
    heavy = np.full((2, 1, 1), 100, np.int64)
    found = cut_grids(unary, np.zeros((2, 0, 2), np.int64), heavy)
    assert found.tolist() == [[[0, 0]], [[1, 1]]]


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="negative weight"):
        cut_grids(
            np.zeros((1, 1, 2, 2), np.int64),
            np.zeros((1, 0, 2), np.int64),
            np.array([[[-1]]], np.int64),
        )
