from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from subsample.agreement import (
    confused_share,
    confusion_concentration,
    diversity,
    near_duplicate_share,
    overlap,
    rank_agreement,
)


def logits_for(predicted: list[int], num_classes: int = 3) -> torch.Tensor:
    return torch.eye(num_classes)[predicted]


def test_spearman_by_hand() -> None:
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 · 2 / (4 · 15) = 0.8.
    first, second = np.array([0.1, 0.2, 0.3, 9.0]), np.array([1, 30, 20, 40])
    assert rank_agreement(first, second) == pytest.approx(0.8)
    assert rank_agreement(first, -first) == pytest.approx(-1)


def test_a_constant_ranks_nothing() -> None:
    ranking = np.arange(3)
    assert rank_agreement(ranking, np.ones(3)) is None
    assert rank_agreement(np.ones(3), ranking) is None
    assert rank_agreement(np.ones(1), np.ones(1)) is None


def test_measures_of_other_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="both"):
        rank_agreement(np.arange(3), np.arange(4))


def test_overlap_is_a_share_of_the_smaller_subset() -> None:
    first, second = np.array([9, 1, 5, 7]), np.array([5, 2, 3, 4, 6, 9, 8])
    assert overlap(first, second) == overlap(second, first) == 2 / 4
    assert overlap(first, first[::-1]) == 1
    assert overlap(first, np.array([0, 2])) == 0


def test_random_subsets_overlap_by_their_fraction() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.permutation(20_000)[:6_000] for _ in range(2))
    assert overlap(first, second) == pytest.approx(0.3, abs=0.02)


def test_the_overlap_with_no_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        overlap(np.array([1]), np.array([], dtype=int))


def test_diversity_is_the_mean_over_classes_of_the_mean_distance() -> None:
    # Class 0: directions at 0°, 90°, 180°, so distances √2, √2, 2. Class 1: opposite, 2.
    # Class 7 has one image, no distance.
    features = [[1, 0], [0, 5], [-3, 0], [0, 2], [0, -2], [1, 1]]
    labels = [0, 0, 0, 1, 1, 7]
    expected = ((2 * sqrt(2) + 2) / 3 + 2) / 2
    assert diversity(torch.tensor(features), torch.tensor(labels)) == pytest.approx(expected)
    assert diversity(np.array(features, np.float32), np.array(labels)) == pytest.approx(expected)


def test_the_length_of_a_feature_does_not_count() -> None:
    features = np.array([[1.0, 2.0], [10.0, 20.0]])
    assert diversity(features, np.zeros(2, int)) == pytest.approx(0, abs=1e-12)


def test_features_may_lie_in_a_mapped_file(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.eye(2))
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert diversity(features, np.zeros(2, int)) == pytest.approx(sqrt(2))


def test_images_all_of_other_classes_have_no_diversity() -> None:
    with pytest.raises(ValueError, match="no two of the same class"):
        diversity(np.eye(3), np.arange(3))


def test_labels_of_other_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="labels"):
        diversity(np.eye(3), np.zeros(2, int))


def test_the_confused_share_counts_the_wrong() -> None:
    assert confused_share(logits_for([0, 1, 2, 0]), torch.tensor([0, 1, 1, 1])) == 0.5


def test_the_confused_share_of_no_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        confused_share(np.zeros((0, 3)), np.zeros(0, int))


def test_concentration_counts_pairs_of_errors_of_one_kind() -> None:
    # Wrong: 0 taken for 1 three times, 0 for 2 once, 1 for 0 once; the last image is right.
    # 3 of the 5 · 4 / 2 = 10 pairs of errors are of one kind.
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    logits = logits_for([1, 1, 1, 2, 0, 2])
    assert confusion_concentration(logits, labels) == pytest.approx(0.3)


def test_errors_of_a_single_kind_are_fully_concentrated() -> None:
    assert confusion_concentration(logits_for([1, 1]), np.array([0, 0])) == 1
    # Taking 0 for 1 is another confusion than taking 1 for 0.
    assert confusion_concentration(logits_for([1, 0]), np.array([0, 1])) == 0


def test_concentration_does_not_grow_as_errors_get_fewer() -> None:
    # Even over the 10 · 9 confusions: 1/90, from 40,000 errors, and in the mean from 20 each.
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (40_000,), generator=generator)
    shift = torch.randint(1, 10, (40_000,), generator=generator)
    logits = logits_for(((labels + shift) % 10).tolist(), 10)
    assert confusion_concentration(logits, labels) == pytest.approx(1 / 90, rel=0.05)
    few = [
        confusion_concentration(part, of)
        for part, of in zip(logits.split(20), labels.split(20), strict=True)
    ]
    assert np.mean([value for value in few if value is not None]) == pytest.approx(1 / 90, rel=0.05)


@pytest.mark.parametrize("predicted", [[], [0], [1], [0, 1]])
def test_fewer_than_two_errors_have_no_concentration(predicted: list[int]) -> None:
    labels = np.zeros(len(predicted), int)
    assert confusion_concentration(logits_for(predicted), labels) is None


def on_circle(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_near_duplicates_are_closer_than_half_of_their_class_is_to_any() -> None:
    # Nearest others at 1, 1, 10, 10 and 40 degrees: the median is 10.
    features, labels = on_circle(0, 1, 60, 70, 110), torch.zeros(5)
    assert near_duplicate_share(features, labels, np.array([0, 1, 4])) == pytest.approx(2 / 3)
    # Kept 10 degrees apart is not closer than the median; 0 and 60 are far apart.
    assert near_duplicate_share(features, labels, np.array([2, 3])) == 0
    assert near_duplicate_share(features, labels, np.array([0, 2])) == 0


def test_near_duplicates_are_of_the_same_class_and_length_has_no_effect() -> None:
    features = on_circle(0, 0, 90, 90) * torch.tensor([[1.0], [5], [1], [7]])
    assert near_duplicate_share(features, torch.tensor([0, 1, 0, 1]), np.array([0, 1])) is None
    labels, kept = torch.tensor([0, 0, 1, 1]), np.array([0, 1, 2])
    # Both of class 0 are at distance 0, which is also the median: no closer than half.
    assert near_duplicate_share(features, labels, kept) == 0
