"""A subset with a list of its own for α and β."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from classification.errors import ArtifactError, ConfigError
from subsample.selection import Subset, check_selection, select, select_parts
from subsample.subset_config import SubsetConfig
from tests.subsample.test_selection import scores_of, subset


def test_two_lists_are_dealt_out_of_the_images_the_measure_puts_first() -> None:
    """Classes of 8 and 4, a half and a quarter: 4 + 2 and 2 + 1 of them, the highest ones."""
    labels = np.array([0] * 8 + [1] * 4)
    config = SubsetConfig(measure="cv", fraction=0.5, architecture_fraction=0.25)
    scores = scores_of([float(i) for i in range(12)])
    weights, architecture = select_parts(labels, config, scores, seed=0)
    assert sorted([*weights, *architecture]) == [2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert np.bincount(labels[weights]).tolist() == [4, 2]
    assert np.bincount(labels[architecture]).tolist() == [2, 1]
    assert select(labels, config, scores, seed=0).tolist() == weights.tolist()


def test_neither_list_has_the_better_images() -> None:
    """Of the first 600 of the order, 480 and 120: the mean place of both is about 300."""
    config = SubsetConfig(measure="mean_low", fraction=0.48, architecture_fraction=0.12)
    scores = scores_of([float(i) for i in range(1000)])
    weights, architecture = select_parts(np.zeros(1000, int), config, scores, seed=0)
    assert (len(weights), len(architecture)) == (480, 120)
    assert abs(architecture.mean() - 299.5) < 50  # three deviations of a mean of 120
    again, other = (select_parts(np.zeros(1000, int), config, scores, seed)[1] for seed in (0, 1))
    assert architecture.tolist() == again.tolist() != other.tolist()


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    fraction=st.floats(0.01, 0.98),
    share=st.floats(0.01, 1),
    order=st.sampled_from(["deterministic", "interval"]),
)
def test_lists_are_disjoint_and_each_class_has_its_rounded_share_of_both(
    labels: list[int], fraction: float, share: float, order: str
) -> None:
    config = SubsetConfig(
        measure="random",
        fraction=fraction,
        architecture_fraction=share * (1 - fraction),
        order=order,
    )
    weights, architecture = select_parts(np.array(labels), config, None, seed=0)
    assert not set(weights) & set(architecture)
    for label in set(labels):
        count = labels.count(label)
        kept = max(1, round(fraction * count))
        beside = min(max(1, round(config.architecture_fraction * count)), count - kept)
        assert (np.array(labels)[weights] == label).sum() == kept
        assert (np.array(labels)[architecture] == label).sum() == beside


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"fraction": 0.9, "architecture_fraction": 0.2},
            "exceeds 1; allowed: at most 0.1",
        ),
        ({"measure": "full", "architecture_fraction": 0.2}, "cannot be used with measure: full"),
        ({"architecture_fraction": 0.0}, "greater than 0"),
    ],
)
def test_shares_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SubsetConfig(**settings)


def test_a_class_without_an_image_for_alpha_and_beta_is_refused() -> None:
    config = SubsetConfig(measure="random", fraction=0.9, architecture_fraction=0.1)
    with pytest.raises(ConfigError) as refusal:
        check_selection(np.array([0] * 40 + [1] * 3), config, ["cat", "dog"])
    assert str(refusal.value).startswith(
        "subset.architecture_fraction: 0.1 finds none of the 3 images of class dog left beside"
    )
    check_selection(np.array([0] * 40 + [1] * 5), config, ["cat", "dog"])  # 4 + 1


def test_a_subset_without_a_second_list_is_written_as_before_there_was_one(tmp_path: Path) -> None:
    subset().save(tmp_path / "subset.json")
    assert list(json.loads((tmp_path / "subset.json").read_text()))[-2:] == [
        "class_histogram",
        "indices",
    ]


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"indices": (1, 4), "architecture_indices": (4,)}, "found one twice"),
        ({"architecture_indices": (5,)}, "4 indices, but the class histogram counts 3"),
        ({"architecture_indices": ()}, "at least one in a list"),
    ],
)
def test_two_lists_that_do_not_fit_together_are_refused(
    tmp_path: Path, lists: dict, complaint: str
) -> None:
    subset(**lists).save(tmp_path / "subset.json")
    with pytest.raises(ArtifactError, match=complaint):
        Subset.load(tmp_path / "subset.json")
