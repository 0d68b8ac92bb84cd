"""What measures keep of images with a planted answer: wrong labels, copies, a noisy class."""

import numpy as np
import pytest

from benchmarks.planted import (
    COPIES,
    EARLY,
    KINDS,
    PER_CLASS,
    ROWS,
    SCORER,
    kept_shares,
    measured,
    planted_images,
    title,
)

LEAST = {"epochs": 12, "stop_epoch": None}
CHANCE = 0.2
MANY, FEW, ANY = (
    (1.5 * CHANCE, 1),
    (0, CHANCE / 2),
    (0, 1),
)  # of a kind that chance keeps a fifth of
KEPT = {  # wrong labels, and noise of one class
    "`random`": ((0.1, 0.3), (0.1, 0.3)),
    "`cv`": (FEW, ANY),
    "`std`": (ANY, FEW),
    "`mean_high`": (MANY, FEW),
    "`mean_low`": (FEW, MANY),
    "`mc_dropout`": (MANY, FEW),
    "`entropy`": (MANY, FEW),
    "`entropy_low`": (ANY, MANY),
    "`entropy`, `p1`": (ANY, MANY),
    "`entropy`, `p2`": (ANY, MANY),
    "`entropy`, `p3`": (ANY, MANY),
    "`el2n`": (MANY, FEW),
    "`el2n_early`": (MANY, FEW),
    "`grand`": (MANY, FEW),
    "`forgetting`": (MANY, FEW),
    "`aum_low`": (MANY, FEW),
    "`aum_high`": (FEW, MANY),
    "`aum_low`, `ccs`": (FEW, ANY),
    "`el2n_early`, `ccs`": (FEW, ANY),
    "`k_center`": (MANY, ANY),
    "`moderate`": (FEW, ANY),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Of every row the share of each kind that is kept, and the number kept of each class."""
    data, kinds = planted_images(0)
    folder = tmp_path_factory.mktemp("planted")
    early = EARLY.model_copy(update={"networks": 1})
    values = measured(data, 0, folder, SCORER.model_copy(update=LEAST), early)
    return {title(row): kept_shares(data, kinds, values, row, 0) for row in ROWS}


def test_every_class_keeps_its_fifth_under_every_measure(kept):
    for name, (_, of_class) in kept.items():
        assert of_class == [PER_CLASS // 5] * 5, name


def test_every_row_of_the_table_has_an_expectation():
    assert [title(row) for row in ROWS] == list(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_hard_images_have_wrong_labels_and_easy_ones_the_noise_of_one_class(kept, name):
    for kind, (least, most) in zip(("wrong label", "noise"), KEPT[name], strict=True):
        assert least <= kept[name][0][kind] <= most, kind


def test_a_measure_that_tells_nothing_apart_keeps_about_a_fifth_of_each_kind():
    # Ties go by index, so that planted images must not come first.
    data, kinds = planted_images(0)
    row = {"measure": "score"}
    shares, _ = kept_shares(data, kinds, {"score": np.zeros(len(kinds))}, row, 0)
    assert list(shares) == list(KINDS)
    assert all(CHANCE / 2 < share < 2 * CHANCE for share in shares.values())


def test_far_images_are_no_copies_of_one_another(kept):
    assert kept["`k_center`"][0]["copy"] <= 1 / COPIES


@pytest.mark.parametrize("order", ["p1", "p2", "p3"])
def test_drawing_by_entropy_keeps_both_ends(kept, order):
    low, high = (kept[name][0]["noise"] for name in ("`entropy`", "`entropy_low`"))
    assert low < kept[f"`entropy`, `{order}`"][0]["noise"] < high


def test_easy_images_have_fewer_wrong_labels_than_random_ones(kept):
    random = kept["`random`"][0]["wrong label"]
    for name in ("`cv`", "`mean_low`", "`aum_high`"):
        assert kept[name][0]["wrong label"] < random
