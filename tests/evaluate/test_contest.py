"""A contest: successive halving under equal training, on a part of train that is held out."""

import json
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from classification.data.datasets import DataConfig, load_dataset
from classification.errors import ConfigError, PipelineError
from classification.persistence.workspace import Workspace
from evaluate import contest
from evaluate.contest import (
    Contestant,
    Trainings,
    check_contest,
    help_contest,
    hold_contest,
    hold_out,
    named_contestants,
    remove_trainings,
    uncontended,
)
from evaluate.contest_config import ContestConfig, PublishedName
from evaluate.halving import Halving, plan_rounds
from pcdarts.genotype import Edge, Genotype
from pcdarts.published_genotypes import GENOTYPES

TRAINING = {"channels": 4, "cells": 3, "epochs": 2, "batch_size": 16}
CPU = torch.device("cpu")


def genotype(*nodes):
    """The same nodes in both kinds of cell."""
    cell = tuple(tuple(Edge(*edge) for edge in node) for node in nodes)
    return Genotype(normal=cell, reduce=cell)


# A chain of poolings, which blurs digits of 8×8 pixels and has no weights; and convolutions.
BROKEN = genotype(*((("avg_pool_3x3", node), ("avg_pool_3x3", node + 1)) for node in range(4)))
SOUND = genotype(*(4 * [(("dil_conv_3x3", 0), ("sep_conv_3x3", 1))]))


def config(**settings):
    training = TRAINING | settings.pop("training", {})
    return ContestConfig.model_validate({"training": training, **settings})


THREE = [Contestant(f"random {n}", "random", g) for n, g in enumerate([SOUND, BROKEN, SOUND])]
SETTINGS = config(rounds=2, share_kept=0.7, training={"batch_size": 36})


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=30))


def contest_of(folder, digits, contestants, settings, **workspace):
    return hold_contest(
        contestants,
        digits,
        settings,
        seed=0,
        device=CPU,
        workspace=Workspace(folder, **workspace),
    )


def accuracies(result):
    return [each["held_out_accuracies"] for each in result["contestants"]]


@pytest.mark.parametrize(
    ("contestants", "rounds", "share", "expected"),
    [
        (14, 3, 0.5, [(14, 4), (7, 8), (3, 16)]),
        (30, 2, 0.1, [(30, 4), (3, 40)]),
        (2, 3, 0.9, [(2, 4)]),  # one is left, so nothing remains to compare
        (3, 9, 0.9, [(3, 4), (2, 4)]),  # never all are kept
        (4, 2, 0.3, [(4, 4)]),
        (4, 1, 0.5, [(4, 4)]),
    ],
)
def test_each_round_keeps_a_share_and_costs_about_the_same(contestants, rounds, share, expected):
    plan = plan_rounds(config(rounds=rounds, share_kept=share, training={"epochs": 4}), contestants)
    assert [(each.contestants, each.epochs) for each in plan] == expected


def test_each_budget_halves_its_own_contestants():
    """Worked by hand: 0 to 3 have the first budget's widths, 3 to 6 the second's; 3 has both."""
    settings = config(rounds=3, share_kept=0.5, training={"epochs": 4})
    halving = Halving(settings, [[0, 1, 2, 3], [3, 4, 5, 6]])
    assert [(each.contestants, each.epochs) for each in halving.rounds] == [(7, 4), (4, 8)]
    # Every wide network is better than the best narrow one.
    first = dict(enumerate([0.1, 0.3, 0.2, 0.5, 0.9, 0.8, 0.7]))
    left = halving.kept(0, halving.groups, first)
    assert left == [[1, 3], [4, 5]]
    assert halving.training(1, left) == [1, 3, 4, 5]
    assert halving.kept(1, left, {1: 0.6, 3: 0.5, 4: 0.8, 5: 0.9}) == [[1], [5]]


def test_the_winner_of_a_budget_waits_while_another_budget_has_rounds_left():
    settings = config(rounds=3, share_kept=0.5, training={"epochs": 4})
    halving = Halving(settings, [[0, 1], [2, 3, 4, 5]])
    assert [(each.contestants, each.epochs) for each in halving.rounds] == [(6, 4), (2, 8)]
    left = halving.kept(0, halving.groups, dict(enumerate([0.2, 0.1, 0.6, 0.5, 0.4, 0.3])))
    assert left == [[0], [2, 3]]
    assert halving.training(1, left) == [2, 3]
    assert halving.kept(1, left, {2: 0.6, 3: 0.7}) == [[0], [3]]


def test_held_out_images_are_a_share_of_each_class_of_train_and_none_is_a_test_image(digits):
    split = hold_out(digits, 0.2, seed=0)
    assert split.test.labels.bincount().tolist() == [6, 6, 6]
    assert split.train.labels.bincount().tolist() == [24, 24, 24]
    together = torch.cat([split.train.images, split.test.images]).flatten(1)
    assert sorted(map(tuple, together.tolist())) == sorted(
        map(tuple, digits.train.images.flatten(1).tolist())
    )
    other = hold_out(digits, 0.2, seed=1)
    assert not torch.equal(split.test.images, other.test.images)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The result, and the folder, of a contest with a broken network before two sound ones."""
    digits = load_dataset(DataConfig(kind="digits", images_per_class=40))
    contestants = [
        Contestant("broken", "found", BROKEN),
        Contestant("sound", "found", SOUND),
        Contestant("the same", "random", SOUND),
    ]
    training = {"epochs": 3, "learning_rate": 0.1, "batch_size": 32}
    settings = config(rounds=2, share_kept=0.7, training=training)
    folder = tmp_path_factory.mktemp("planted")
    result = contest_of(folder, digits, contestants, settings)
    remove_trainings(Workspace(folder))
    return result, folder


def test_a_broken_contestant_never_wins(planted):
    result = planted[0]
    assert result["winner"] == 1
    assert [len(each) for each in accuracies(result)] == [1, 2, 2]
    broken, sound = accuracies(result)[0][0], accuracies(result)[1][0]
    assert sound > broken + 0.2


def test_equal_contestants_have_equal_accuracies_because_all_train_alike(planted):
    _, sound, the_same = accuracies(planted[0])
    assert sound == the_same


def test_no_folder_of_a_contestant_is_left(planted):
    names = {path.name for path in planted[1].iterdir()}
    assert not [name for name in names if name.startswith("contestant")]


def test_a_later_round_continues_the_training_of_the_first(digits, tmp_path, monkeypatch):
    trained, honest = [], contest.retrain

    def counting(genotype, dataset, settings, **named):
        before = len(named["workspace"].rows())
        network = honest(genotype, dataset, settings, **named)
        trained.append((before, len(named["workspace"].rows())))
        return network

    monkeypatch.setattr(contest, "retrain", counting)
    contest_of(tmp_path, digits, THREE, SETTINGS)
    # Rounds of 2 and 2 / 0.7 ≈ 3 epochs.
    assert trained == [(0, 2), (0, 2), (0, 2), (2, 5), (2, 5)]


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return contest_of(folder, digits, THREE, SETTINGS), folder


@pytest.mark.parametrize("stopped", [1, 4])
def test_a_stopped_contest_repeats_no_epoch_and_ends_with_the_same_result(
    digits, whole, tmp_path, monkeypatch, stopped
):
    """Ctrl-C after an epoch of the second and of the last of five trainings."""
    calls, epochs, honest = [], [], contest.retrain

    def progress(done, total, unit, **metrics):
        if unit == "epoch":
            epochs.append((done, total))
            if len(calls) == stopped + 1 and not stops:
                stops.append(done)
                raise KeyboardInterrupt

    def counting(*arguments, **named):
        calls.append(arguments)
        return honest(*arguments, **named)

    stops = []
    monkeypatch.setattr(contest, "retrain", counting)
    with pytest.raises(KeyboardInterrupt):
        contest_of(tmp_path, digits, THREE, SETTINGS, progress=progress)
    calls.clear()
    assert contest_of(tmp_path, digits, THREE, SETTINGS, progress=progress) == whole[0]
    assert len(calls) == 5 - stopped
    assert epochs == [(done, 3 * 2 + 2 * 3) for done in range(1, 13)]
    metrics = (tmp_path / "metrics.jsonl").read_bytes()
    assert metrics == (whole[1] / "metrics.jsonl").read_bytes()


def test_each_budget_has_its_winner_and_a_stopped_contest_the_same(digits, tmp_path, monkeypatch):
    """Planted accuracies of two rounds: the second budget's wide networks are all better."""
    planted = {2: (0.1, 0.2), 4: (0.3, 0.3), 6: (0.2, 0.4), 8: (0.5, 0.1), 10: (0.9, 0.7)}
    planted[12] = (0.8, 0.9)
    budgets = [(0,), (0,), (0,), (0, 1), (1,), (1,)]
    contestants = [
        Contestant(f"random, {channels} channels", "random", SOUND, channels, own, "random")
        for channels, own in zip(planted, budgets, strict=True)
    ]
    calls, stop_at = [], [6]

    def training(genotype, dataset, settings, *, workspace, rounds, **_):
        if len(calls) in stop_at:
            stop_at.clear()
            raise KeyboardInterrupt
        calls.append((settings.channels, len(rounds)))
        accuracy, before = planted[settings.channels][len(rounds) - 1], sum(rounds[:-1])
        for step in range(before + 1, sum(rounds) + 1):
            workspace.save(step, {}, {"test_accuracy": accuracy})

    monkeypatch.setattr(contest, "retrain", training)
    settings = config(rounds=2, share_kept=0.5)
    with pytest.raises(KeyboardInterrupt):
        contest_of(tmp_path, digits, contestants, settings)
    result = contest_of(tmp_path, digits, contestants, settings)
    # Of the first budget's four, 8 and 4 channels stay; of the second's three 10, which has won.
    first = [(channels, 1) for channels in (2, 4, 6, 8, 10, 12)]
    assert calls == [*first, (4, 2), (8, 2)]
    assert (result["winner"], result["winners"]) == (1, [1, 4])
    assert [each["contestants"] for each in result["rounds"]] == [6, 2]
    assert [tuple(each["budgets"]) for each in result["contestants"]] == budgets

    calls.clear()  # a helper finds the same trainings
    split, place = hold_out(digits, settings.held_out, 0), Workspace(tmp_path / "helped")
    help_contest(Trainings(contestants, split, settings, 0, CPU, place, uncontended))
    assert calls == [*first, (4, 2), (8, 2)]


def test_the_random_contestants_follow_from_the_seed_alone():
    three, four = (named_contestants(config(random=n, published=["darts_v1"]), 0) for n in (3, 4))
    assert three[:3] == four[:3]
    assert three[-1] == Contestant("darts_v1", "published", GENOTYPES["darts_v1"])
    assert named_contestants(config(random=3), 1) != three[:3]


def test_every_published_genotype_has_a_name_in_the_config():
    assert set(get_args(PublishedName)) == set(GENOTYPES)


def test_the_result_is_json(planted):
    assert json.loads(json.dumps(planted[0])) == planted[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random": 0}, "no contestants other than the search's genotype"),
        ({"restarts": 0}, "greater than or equal to 1"),
        ({"published": ["darts_v3"]}, "'darts_v1', 'darts_v2', 'pcdarts_cifar10' or"),
        ({"published": ["darts_v1", "darts_v1"]}, "occurs twice"),
        ({"training": {"validation_fraction": 0.1}}, "allowed: 0"),
    ],
)
def test_a_contest_without_sense_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": 0.99}, r"contest.held_out: 0.99 holds out all of the 30 images of class 0"),
        ({"training": {"batch_size": 80}}, "contest.training.batch_size: 80 exceeds the 72 train"),
        ({"training": {"network": "imagenet", "epochs": 9}}, "target.image_size: 8 is too small"),
    ],
)
def test_images_that_do_not_fit_the_contest_are_refused(digits, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_contest(config(**settings), digits)


def test_a_contestant_that_diverges_names_the_contest_s_learning_rate(digits, tmp_path):
    settings = config(rounds=1, training={"learning_rate": 1e30})
    with pytest.raises(PipelineError, match=r"^contest\.training\.learning_rate: the loss is"):
        contest_of(tmp_path, digits, THREE[:2], settings)
