"""Sentences of a report that explain what its pictures show."""

import pytest

from pipeline.config import load_config
from pipeline.reports.curves import explain_losses
from pipeline.reports.gallery import gallery_note, mixes_note
from pipeline.reports.network import _break_even


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("notes") / "x.yaml"
    path.write_text("name: x\ndata: {kind: digits}\n")
    return lambda *overrides: load_config(path, overrides)


def test_the_middle_is_said_to_be_hidden_only_where_it_is(config):
    assert "hide the middle of the scored image by design" in mixes_note(config())
    assert mixes_note(config("scores.anchor=patch")) == ""
    assert mixes_note(config("scores.fraction=dirichlet")) == ""


def test_the_classes_of_both_galleries_are_told_apart():
    assert gallery_note("abcde") == ""
    assert gallery_note("abcdef") == (
        "The picture shows the first 5 of the 6 classes; report.html shows 3, evenly spread, with "
        "their mixes."
    )


def test_what_raises_the_training_loss_is_named(config):
    own, made = config("retrain.auxiliary_weight=0.4"), dict.fromkeys(("scorer", "retrain"))
    assert explain_losses(own, made, "val") == (
        "Training losses are of augmented images (scorer: also mixed), that of retrain with 0.4 × "
        "the auxiliary head's loss added; val losses are of unmodified images without this, so "
        "they can be lower."
    )
    plain = config("retrain.auxiliary_weight=0")
    assert "mixed" not in explain_losses(plain, {"retrain": None}, "val")
    assert "auxiliary" not in explain_losses(plain, made, "val")


def test_a_break_even_that_is_rounded_up_names_where_the_costs_are_equal():
    cost = {
        "break_even_searches": 1,
        "break_even_basis": "estimated",
        "one_search": 2.0,
        "search_alone": 2.0,
        "total": 3.0,
        "full_search": 7.0,
        "unit": "CPU-hours",
    }
    # 1 hour before the search, 5 hours saved by each.
    assert _break_even(cost).startswith(
        "Break-even: **1 search** (the costs are equal at 0.2, rounded up), compared with 7 CPU-h"
    )


def test_a_prediction_below_one_half_is_unsure():
    from pipeline.commands.predict import is_unsure

    assert is_unsure([("boa", 0.35), ("goose", 0.31)])
    assert not is_unsure([("boa", 0.5), ("goose", 0.5)])
