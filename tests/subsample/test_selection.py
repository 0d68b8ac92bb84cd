"""Properties of the subset: balance, order, stride, its file."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from classification.errors import ArtifactError, ConfigError
from subsample.selection import (
    Subset,
    check_selection,
    class_histogram,
    describe_equal_values,
    describe_small_classes,
    select,
)
from subsample.subset_config import SubsetConfig
from subsample.uncertainty import Scores

MEASURES = ("cv", "mean_high", "mean_low", "std", "random")


def scores_of(values: list[float]) -> Scores:
    array = np.array(values, np.float64)
    return Scores(mean=array, std=array, cv=array)


def subset(**changes: object) -> Subset:
    fields: dict = {
        "dataset": "digits",
        "content_hash": "ab" * 32,
        "measure": "cv",
        "order": "deterministic",
        "fraction": 0.1,
        "seed": 3,
        "scorer": "f00d",
        "class_histogram": {"0": 2, "1": 1},
        "indices": (1, 4, 9),
    }
    return Subset(**(fields | changes))


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    fraction=st.floats(0.01, 1),
    measure=st.sampled_from(MEASURES),
    order=st.sampled_from(["deterministic", "interval"]),
)
def test_every_class_keeps_its_rounded_share(
    labels: list[int], fraction: float, measure: str, order: str
) -> None:
    config = SubsetConfig(measure=measure, fraction=fraction, order=order)
    values = scores_of([(7 * i) % 11 for i in range(len(labels))])
    indices = select(np.array(labels), config, values, seed=0)
    kept = np.array(labels)[indices]
    for label in set(labels):
        count = labels.count(label)
        assert (kept == label).sum() == min(count, max(2, round(fraction * count)))
    assert indices.dtype == np.int64
    assert (np.diff(indices) > 0).all()


@pytest.mark.parametrize(
    ("measure", "kept"),
    [
        ("cv", [0, 3, 4, 7]),
        ("mean_high", [1, 3, 5, 7]),
        ("mean_low", [0, 2, 4, 6]),
        ("std", [2, 3, 6, 7]),
    ],
)
def test_a_measure_puts_its_own_images_first(measure: str, kept: list[int]) -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = Scores(
        mean=np.array([2.0, 4, 1, 3] * 2),
        std=np.array([1.0, 1, 2, 3] * 2),
        cv=np.array([9.0, 1, 2, 3] * 2),
    )
    config = SubsetConfig(measure=measure, fraction=0.5)
    assert select(labels, config, scores, seed=0).tolist() == kept


@pytest.mark.parametrize("measure", ["cv", "mean_high", "mean_low", "std"])
def test_ties_go_to_the_lower_index(measure: str) -> None:
    config = SubsetConfig(measure=measure, fraction=0.3)
    assert select(np.zeros(10, int), config, scores_of([1.0] * 10), seed=0).tolist() == [0, 1, 2]


def test_interval_takes_the_order_at_a_fixed_stride() -> None:
    # Descending values reverse the indices: the order is 9, 8, …, 0. Four of ten at a stride of
    # 2.5 are places 0, 2, 5, 7: the images 9, 7, 4, 2.
    config = SubsetConfig(measure="cv", fraction=0.4, order="interval")
    ascending = scores_of([float(i) for i in range(10)])
    assert select(np.zeros(10, int), config, ascending, seed=0).tolist() == [2, 4, 7, 9]


def test_random_follows_the_seed() -> None:
    labels = np.arange(200) % 2
    config = SubsetConfig(measure="random", fraction=0.1)
    first, again, other = (select(labels, config, None, seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_full_keeps_every_image_whatever_fraction_was_inherited() -> None:
    config = SubsetConfig(measure="full", fraction=0.1)
    assert config.fraction == 1
    assert select(np.array([1, 0, 1]), config, None, seed=0).tolist() == [0, 1, 2]


def test_only_measures_of_the_losses_need_scores() -> None:
    need = {m: SubsetConfig(measure=m).needs_scores for m in (*MEASURES, "full")}
    assert [m for m, needed in need.items() if not needed] == ["random", "full"]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValidationError, match="fraction"):
        SubsetConfig(fraction=fraction)


def test_missing_or_foreign_scores_are_refused() -> None:
    for scores in (None, scores_of([1.0, 2.0])):
        with pytest.raises(ValueError, match="needs the scores of 3 images"):
            select(np.zeros(3, int), SubsetConfig(), scores, seed=0)


def test_the_classes_of_a_long_tail_keep_two_images_at_least_and_a_line_says_so() -> None:
    counts = [2, 3, 14, 16, 25, 26, 1000]  # a tenth rounds to 0, 0, 1, 2, 2, 3, 100
    labels = np.repeat(np.arange(7), counts)
    config = SubsetConfig(measure="random", fraction=0.1)
    check_selection(labels, config, list("abcdefg"))
    kept = labels[select(labels, config, None, seed=0)]
    assert np.bincount(kept).tolist() == [2, 2, 2, 2, 2, 3, 100]
    assert describe_small_classes(labels, config) == (
        "3 of 7 classes keep 2 images, more than 0.1 of theirs: the search needs one in each half"
    )
    assert describe_small_classes(labels, SubsetConfig(measure="random", fraction=0.9)) is None


def test_a_class_of_one_image_is_refused_under_any_fraction() -> None:
    with pytest.raises(ConfigError, match="class dog has 1 training images"):
        check_selection(np.array([0, 0, 1]), SubsetConfig(measure="full"), ["cat", "dog"])


def test_histogram_counts_classes_without_images() -> None:
    assert class_histogram(np.array([2, 0, 2]), ["a", "b", "c"]) == {"a": 1, "b": 0, "c": 2}


def test_a_subset_reads_back_as_it_was_written(tmp_path: Path) -> None:
    two_lists = subset(indices=(1, 9), architecture_indices=(4,))
    for original in (subset(), subset(scorer=None, measure="random"), two_lists):
        original.save(tmp_path / "subset.json")
        assert Subset.load(tmp_path / "subset.json") == original


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("indices", [1, 1, 4], "found one twice"),
        ("indices", [-1, 4, 9], "indices.0: found -1"),
        ("indices", [1, 4, 2**40], "indices.2"),
        ("indices", [1, 4, 9.5], "indices.2: found 9.5"),
        ("indices", ["1", 4, 9], "indices.0"),
        ("indices", [True, 4, 9], "indices.0"),
        ("indices", [1, 4], "2 indices, but the class histogram counts 3"),
        ("indices", "1 4 9", "indices: found '1 4 9'"),
        ("fraction", 2.0, "fraction: found 2.0"),
        ("fraction", float("nan"), "fraction"),
        ("split", "test", "split: found 'test'"),
        ("measure", "colour", "measure: found 'colour'"),
        ("class_histogram", {"0": -1}, "class_histogram.0"),
        ("seed", -1, "seed: found -1"),
        ("colour", "red", "colour"),
    ],
)
def test_a_file_that_is_no_subset_is_refused_in_one_line(
    tmp_path: Path, key: str, value: object, complaint: str
) -> None:
    path = tmp_path / "subset.json"
    subset().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtifactError) as refusal:
        Subset.load(path)
    message = str(refusal.value)
    assert complaint in message
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize("key", ["dataset", "content_hash", "measure", "indices", "scorer"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "subset.json"
    subset().save(path)
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=f"not a subset: {key}"):
        Subset.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00\xff"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "subset.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match="not a subset"):
        Subset.load(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        Subset.load(tmp_path / "subset.json")


def test_a_subset_of_other_images_is_refused() -> None:
    subset().check_against("ab" * 32, 10)
    with pytest.raises(ArtifactError, match="content hash"):
        subset().check_against("cd" * 32, 10)
    for lists in ({}, {"indices": (1, 4), "architecture_indices": (9,)}):
        with pytest.raises(ArtifactError, match="index 9 found; allowed: 0 to 8"):
            subset(**lists).check_against("ab" * 32, 9)


@pytest.mark.parametrize(
    ("values", "settings", "line"),
    [
        ([1, 1, 1, 1, 2, 2, 2, 3], {}, "all values of class a are equal: its subset is chosen by "),
        ([1] * 8, {}, "all values of class a (and of 1 more) are equal: "),
        ([1] * 8, {"order": "ccs"}, "its subset is chosen at random"),
        ([1] * 8, {"order": "p1"}, "its subset is chosen at random"),
        ([1, 1, 1, 2, 3, 3, 3, 4], {}, None),
        ([1] * 8, {"fraction": 1.0}, None),  # nothing is left to chance
        ([1] * 8, {"measure": "random"}, None),
    ],
)
def test_classes_that_a_measure_does_not_tell_apart_are_named(values, settings, line) -> None:
    config = SubsetConfig(**{"measure": "entropy", "fraction": 0.5} | settings)
    labels = np.repeat([0, 1, 2], [4, 4, 0])
    found = describe_equal_values(labels, config, np.array(values, float), ["a", "b", "none"])
    assert found is None if line is None else line in found
