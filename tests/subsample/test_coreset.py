"""Properties of k-center greedy, against a search that compares every pair directly."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from classification.errors import ConfigError, PipelineError
from subsample import coreset
from subsample.coreset import k_center_greedy, k_center_ranks
from subsample.selection import select
from subsample.subset_config import SubsetConfig


def brute_force(features: Tensor, count: int) -> list[int]:
    """Farthest first by differences, in float64; distances alike to seven digits are ties."""
    points = features.numpy().astype(np.float64)
    order = [int(distances(points, points.mean(0)).argmin())]
    near = distances(points, points[order[0]])
    while len(order) < count:
        near[order] = -1
        order.append(int(near.argmax()))
        near = np.minimum(near, distances(points, points[order[-1]]))
    return order


def distances(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return ((points - centre) ** 2).sum(1).astype(np.float32)


def radius(points: np.ndarray, centres: tuple[int, ...] | list[int]) -> float:
    """The greatest distance of a point from its nearest centre."""
    return max(min(np.linalg.norm(point - points[c]) for c in centres) for point in points)


def normal(number: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed))


def lattice(number: int) -> Tensor:
    """Integer points, many equally far from each other and many the same."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(4, (number, 3), generator=generator).float()


FEATURES = {
    "normal": normal(120, 7),
    "narrow": normal(120, 1),
    "lattice": lattice(120),
    "far from zero": normal(120, 7) + 1000,
    "duplicates": normal(30, 7).repeat(4, 1),
    # Beside the outlier, float32 cannot tell how far the others are from each other.
    "outlier": torch.cat([normal(119, 7) * 1e-3, torch.full((1, 7), 100.0)]),
    "all the same": torch.ones(120, 7),
}


@pytest.mark.parametrize("contenders", [1, 8, 119, 120, 1024])
@pytest.mark.parametrize("name", FEATURES)
def test_order_is_that_of_a_direct_search(
    name: str, contenders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreset, "_CONTENDERS", contenders)
    monkeypatch.setattr(coreset, "_ROWS", 50)
    monkeypatch.setattr(coreset, "_CENTRES", 16)
    features = FEATURES[name]
    assert k_center_greedy(features, 120).tolist() == brute_force(features, 120)


def test_order_on_a_line_by_hand() -> None:
    # Their mean is 3.2, so 3 comes first, then 10 and 0; 1 and 2 are then both 1 away.
    line = torch.tensor([[0.0], [2.0], [1.0], [3.0], [10.0]])
    assert k_center_greedy(line, 5).tolist() == [3, 4, 0, 1, 2]


def test_the_first_of_images_equally_near_the_mean_begins() -> None:
    assert k_center_greedy(torch.tensor([[1.0], [-1.0], [1.0]]), 1).tolist() == [0]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_radius_is_at_most_twice_the_least_possible(seed: int, count: int) -> None:
    features = normal(9, 2, seed)
    points = features.numpy()
    least = min(radius(points, centres) for centres in itertools.combinations(range(9), count))
    assert radius(points, k_center_greedy(features, count).tolist()) <= 2 * least + 1e-6


def test_a_prefix_is_the_smaller_coreset() -> None:
    features = normal(60, 5)
    order = k_center_greedy(features, 60).tolist()
    assert sorted(order) == list(range(60))
    for count in (1, 7, 59):
        assert k_center_greedy(features, count).tolist() == order[:count]


def test_permuted_images_give_the_permuted_order() -> None:
    features = normal(200, 16)
    shuffle = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    permuted = k_center_greedy(features[shuffle], 50)
    assert shuffle[permuted].tolist() == k_center_greedy(features, 50).tolist()


def test_duplicates_of_centres_come_last_by_index() -> None:
    features = torch.tensor([[5.0], [0.0], [5.0], [0.0], [2.0], [2.0]])
    order = k_center_greedy(features, 6).tolist()
    assert order == [4, 0, 1, 2, 3, 5]


def test_ranks_are_each_class_own_order() -> None:
    features = normal(90, 6)
    labels = torch.arange(90) % 3 * 10
    ranks = k_center_ranks(features, labels)
    for label in (0, 10, 20):
        members = (labels == label).nonzero()[:, 0]
        order = k_center_greedy(features[members], 30)
        assert ranks[members][order].tolist() == list(range(30))


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_every_class_keeps_as_many_as_select_does(fraction: float) -> None:
    labels = torch.tensor([0] * 1 + [1] * 10 + [2] * 26 + [3] * 50)
    features = normal(len(labels), 4)
    ranks = k_center_ranks(features, labels, fraction)
    kept = select(labels.numpy(), SubsetConfig(measure="random", fraction=fraction), None, seed=0)
    for label in range(4):
        found = ranks[labels == label]
        ranked = int((labels[kept] == label).sum())
        expected = [*range(ranked), *[ranked] * (len(found) - ranked)]
        assert sorted(found.tolist()) == expected


def test_a_smaller_fraction_keeps_the_lowest_ranks() -> None:
    features, labels = normal(80, 5), torch.arange(80) % 2
    all_ranks, ranks = k_center_ranks(features, labels), k_center_ranks(features, labels, 0.2)
    assert torch.equal(ranks, all_ranks.clamp(max=8))


def test_a_class_of_one_image_ranks_it_first() -> None:
    assert k_center_ranks(normal(3, 2), torch.tensor([4, 7, 7]), 0.1)[0] == 0


def test_features_and_memory_format_are_left_alone() -> None:
    features = normal(40, 5)
    before = features.clone()
    strided = torch.stack([features, features], 2)[..., 0]
    assert k_center_greedy(strided, 40).tolist() == k_center_greedy(features, 40).tolist()
    assert torch.equal(features, before)


@pytest.mark.parametrize("count", [0, -1, 6])
def test_more_centres_than_images_or_none_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"subset.fraction: .* {count} of 5 .* 1 to 5"):
        k_center_greedy(normal(5, 2), count)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match=rf"subset.fraction: found {fraction}; allowed"):
        k_center_ranks(normal(5, 2), torch.zeros(5).long(), fraction)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_features_of_a_diverged_scorer_are_refused(value: float) -> None:
    features = normal(5, 2)
    features[3, 1] = value
    with pytest.raises(PipelineError, match="not finite"):
        k_center_greedy(features, 2)


def test_features_of_another_shape_are_refused() -> None:
    for features in (normal(5, 2)[0], normal(0, 2)):
        with pytest.raises(ValueError, match="features"):
            k_center_greedy(features, 1)
    with pytest.raises(ValueError, match="labels"):
        k_center_ranks(normal(5, 2), torch.zeros(4).long())
