"""What measures keep of images with a planted answer: wrong labels, copies, a noisy class."""

import pytest

from benchmarks.planted import (
    COPIES,
    EARLY,
    PER_CLASS,
    ROWS,
    SCORER,
    kept_shares,
    measured,
    planted_images,
    title,
)

LEAST = {"epochs": 12, "stop_epoch": None}


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


@pytest.mark.parametrize(
    "name", ["`el2n`", "`el2n_early`", "`grand`", "`forgetting`", "`aum_low`", "`mean_high`"]
)
def test_what_keeps_the_hardest_keeps_most_wrong_labels(kept, name):
    assert kept[name][0]["wrong label"] > 2 * 0.2


@pytest.mark.parametrize(
    "name", ["`aum_high`", "`mean_low`", "`moderate`", "`aum_low`, `ccs`", "`el2n_early`, `ccs`"]
)
def test_what_keeps_the_easiest_or_cuts_the_hardest_keeps_few(kept, name):
    assert kept[name][0]["wrong label"] < 0.2 / 2


def test_far_images_are_no_copies_of_one_another(kept):
    assert kept["`k_center`"][0]["copy"] <= 1 / COPIES


def test_drawing_by_entropy_keeps_both_ends(kept):
    shares = {name: kept[name][0] for name in ("`entropy`", "`entropy_low`", "`entropy`, `p1`")}
    for kind in ("wrong label", "noise"):
        ends = sorted(each[kind] for name, each in shares.items() if "p1" not in name)
        assert ends[0] < shares["`entropy`, `p1`"][kind] < ends[1]
