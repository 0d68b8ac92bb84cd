import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kendalltau

from classification.data.datasets import DataConfig, load_dataset
from classification.errors import ConfigError
from classification.persistence.workspace import Workspace
from classification.seeds import derive_seed
from evaluate import fidelity
from evaluate.fidelity import (
    FidelityConfig,
    RankCorrelation,
    check_fidelity,
    mean_of_others,
    mean_rank_correlation,
    rank_correlation,
    sample_architectures,
    train_architectures,
)

TINY = {
    "architectures": 3,
    "training": {"channels": 4, "cells": 3, "epochs": 2, "batch_size": 8},
}


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(kind="digits", classes=2, images_per_class=8))


def test_where_the_config_is_silent_the_training_is_brief():
    training = FidelityConfig.model_validate({"training": {"epochs": 5}}).training
    assert (training.channels, training.cells, training.batch_size) == (16, 8, 96)
    assert (training.epochs, training.auxiliary_weight, training.cutout) == (5, 0, 0)
    assert FidelityConfig().training.epochs == 20


def test_a_resolved_config_reads_back_to_itself():
    config = FidelityConfig.model_validate(TINY)
    assert FidelityConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"architectures": 2}, "greater than or equal to 3"),
        ({"training": {"validation_fraction": 0.1}}, "allowed: 0"),
        ({"training": 3}, "training"),
    ],
)
def test_what_ranks_nothing_is_refused(settings, expected):
    with pytest.raises(ValidationError, match=expected):
        FidelityConfig.model_validate(settings)


def test_tau_counts_pairs_in_the_same_order():
    """1 2 3 4 against 1 3 2 4: five of six pairs agree, one does not; (5 - 1) / 6."""
    found = rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], seed=0, resamples=9)
    assert found.tau == pytest.approx(4 / 6)
    assert found.architectures == 4


def test_ties_shorten_the_denominator():
    """1 1 2 against 1 2 3: two pairs agree, one is tied in the first; 2 / sqrt(2 · 3)."""
    assert rank_correlation([1, 1, 2], [1, 2, 3], seed=0, resamples=9).tau == pytest.approx(
        2 / 6**0.5
    )


@pytest.mark.parametrize("values", [2, 4, 1000])
def test_tau_is_scipys(values):
    """With many ties, some, and none."""
    first, second = np.random.default_rng(values).integers(values, size=(2, 24)).tolist()
    expected = kendalltau(first, second).statistic
    assert rank_correlation(first, second, seed=0, resamples=9).tau == pytest.approx(expected)


def test_the_interval_is_that_of_scipys_tau_over_resamples():
    first, second = np.random.default_rng(0).integers(5, size=(2, 8)).astype(float).tolist()
    drawn = np.random.default_rng(derive_seed(3, "fidelity-bootstrap")).integers(8, size=(200, 8))
    pairs = np.array([first, second])
    taus = [kendalltau(*pairs[:, each]).statistic for each in drawn]
    found = rank_correlation(first, second, seed=3, resamples=200)
    assert (found.low, found.high) == pytest.approx(tuple(np.nanpercentile(taus, (2.5, 97.5))))


def test_the_same_order_leaves_no_doubt_and_the_reverse_neither():
    values = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0]
    same = rank_correlation(values, [2 * value for value in values], seed=0, resamples=100)
    assert (same.tau, same.low, same.high) == pytest.approx((1, 1, 1))
    opposite = rank_correlation(values, [-value for value in values], seed=0, resamples=100)
    assert (opposite.tau, opposite.low, opposite.high) == pytest.approx((-1, -1, -1))


def test_a_resample_that_orders_nothing_is_left_out():
    """Of 1 1 2 every resample without the last draws equal values alone; any other gives 1."""
    found = rank_correlation([1, 1, 2], [1, 1, 2], seed=0, resamples=100)
    assert (found.tau, found.low, found.high) == pytest.approx((1, 1, 1))


def test_the_interval_holds_tau_and_narrows_with_architectures():
    few, many = (
        rank_correlation(range(n), [i + 7 * (i % 3) for i in range(n)], seed=0, resamples=300)
        for n in (10, 60)
    )
    assert few.low < few.tau < few.high
    assert many.high - many.low < few.high - few.low


def test_the_interval_follows_from_the_seed():
    values = [1, 4, 2, 3, 6, 5], [1, 2, 3, 4, 5, 6]
    first, again = (rank_correlation(*values, seed=1, resamples=100) for _ in range(2))
    assert first == again
    assert rank_correlation(*values, seed=2, resamples=100) != first


def test_equal_errors_have_no_rank():
    found = rank_correlation([5, 5, 5], [1, 2, 3], seed=0)
    assert found == RankCorrelation(None, None, None, 3)
    assert str(found) == "not defined (all errors are equal)"


@pytest.mark.parametrize("second", [[1, 2], [1, 2, 3, 4]])
def test_rankings_of_other_architectures_are_not_compared(second):
    with pytest.raises(ValueError, match=f"found 3 and {len(second)} values"):
        rank_correlation([1, 2, 3], second, seed=0)


def test_two_architectures_are_too_few():
    with pytest.raises(ValueError, match="at least three"):
        rank_correlation([1, 2], [1, 2], seed=0)


def test_fewer_architectures_are_the_first_of_more():
    three = sample_architectures(FidelityConfig(architectures=3), seed=1)
    assert sample_architectures(FidelityConfig(architectures=5), seed=1)[:3] == three
    assert sample_architectures(FidelityConfig(architectures=3), seed=2) != three


def test_architectures_of_a_seed_of_their_own_are_the_same_in_runs_of_any_seed():
    config = FidelityConfig(architectures=3, seed=7)
    assert sample_architectures(config, seed=1) == sample_architectures(config, seed=2)
    assert sample_architectures(config, seed=1) == sample_architectures(
        FidelityConfig(architectures=3), seed=7
    )


def test_spread_architectures_run_from_no_convolution_to_nothing_else():
    """16 operations each; with shares of 0, 1/4, 1/2, 3/4 and 1 of five."""
    drawn = sample_architectures(FidelityConfig(architectures=5, sampling="spread"), seed=0)
    counts = [
        sum("conv" in edge.operation for cell in (g.normal, g.reduce) for n in cell for edge in n)
        for g in drawn
    ]
    assert (counts[0], counts[-1]) == (0, 16)
    assert counts == sorted(counts)
    operations = {e.operation for g in drawn for n in (*g.normal, *g.reduce) for e in n}
    assert len(operations) == 7


def test_the_mean_tau_over_seeds_is_the_mean_of_scipys():
    first, second = np.random.default_rng(1).normal(size=(2, 3, 12)).tolist()
    taus = [kendalltau(*pair).statistic for pair in zip(first, second, strict=True)]
    found = mean_rank_correlation(first, second, seed=0, resamples=50)
    assert found.tau == pytest.approx(np.mean(taus))


def test_the_interval_over_seeds_covers_a_choice_of_seeds():
    """One seed ranks alike, the other in reverse: resamples take one alone or both, with 0."""
    values = [1.0, 2.0, 3.0, 4.0]
    found = mean_rank_correlation([values, values[::-1]], [values, values], seed=0, resamples=400)
    assert (found.tau, found.low, found.high) == pytest.approx((0, -1, 1))


def test_a_seed_is_compared_with_the_mean_of_the_others():
    assert mean_of_others([[1, 10], [3, 30], [5, 20]]) == [[4, 25], [3, 15], [2, 20]]
    assert mean_of_others([[1, 10]]) == [[1, 10]]


class StopError(Exception):
    pass


def train(digits, folder, stop=None):
    """The rows of a training in `folder`, and the epochs that it showed."""
    seen = []

    def progress(done, total, unit, **metrics):
        if unit == "epoch":
            seen.append((done, total))
            if done == stop:
                raise StopError

    config, device = FidelityConfig.model_validate(TINY), torch.device("cpu")
    workspace = Workspace(folder, progress)
    return train_architectures(config, digits, seed=0, device=device, workspace=workspace), seen


@pytest.fixture(scope="module")
def straight(digits, tmp_path_factory):
    """A training that was not stopped: its folder, its rows, its epochs."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, *train(digits, folder)


def test_a_row_says_what_was_trained_and_its_error(straight):
    _, rows, seen = straight
    sampled = sample_architectures(FidelityConfig.model_validate(TINY), seed=0)
    assert [row["genotype"] for row in rows] == [genotype.to_dict() for genotype in sampled]
    assert all(row["parameters"] > 0 and 0 <= row["top1_error"] <= 100 for row in rows)
    assert seen == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(("stop_at", "trainings"), [(1, 3), (2, 3), (5, 1)])
def test_a_stopped_ranking_ends_as_one_that_was_not_and_repeats_nothing(
    digits, straight, tmp_path, monkeypatch, stop_at, trainings
):
    """Stopped within the first network, as it ends, and within the last."""
    with pytest.raises(StopError):
        train(digits, tmp_path, stop_at)
    trained, honest = [], fidelity.retrain

    def counting(genotype, *arguments, **named):
        trained.append(genotype)
        return honest(genotype, *arguments, **named)

    monkeypatch.setattr(fidelity, "retrain", counting)
    rows, seen = train(digits, tmp_path)
    assert rows == straight[1]
    assert seen == [(done, 6) for done in range(stop_at + 1, 7)]
    assert len(trained) == trainings
    assert (tmp_path / "metrics.jsonl").read_bytes() == (straight[0] / "metrics.jsonl").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("training", "kept", "expected"),
    [
        ({}, 7, r"fidelity\.training\.batch_size: 8 exceeds the 7 images"),
        ({"network": "imagenet", "epochs": 9}, 16, r"data\.image_size: 8 is too small"),
    ],
)
def test_what_cannot_be_trained_is_refused(digits, training, kept, expected):
    config = FidelityConfig.model_validate({"training": TINY["training"] | training})
    with pytest.raises(ConfigError, match=expected):
        check_fidelity(config, digits, kept)
