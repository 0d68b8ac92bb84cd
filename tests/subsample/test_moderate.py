import pytest
import torch

from subsample.moderate import moderate_values


def test_distances_by_hand() -> None:
    # Class 0: centre 3, distances 3, 2, 1, 1, 5 of which the median is 2. Class 1: centre (1, 1),
    # distances √2 and √2.
    features = torch.tensor([[0.0, 0], [1, 0], [2, 0], [4, 0], [8, 0], [0, 0], [2, 2]])
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    values = moderate_values(features, labels)
    assert values.tolist() == pytest.approx([-1, 0, -1, -1, -3, 0, 0], abs=1e-6)
    assert values.dtype == torch.float32


def test_distances_do_not_depend_on_the_place_of_a_class() -> None:
    points = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    moved = points + 100.0 * labels[:, None]
    torch.testing.assert_close(
        moderate_values(moved, labels), moderate_values(points, labels), atol=1e-4, rtol=0
    )


def test_features_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        moderate_values(torch.zeros(3, 2), torch.zeros(2))
