import dataclasses

import pytest

from evaluate.published.error_rates import TABLE_3
from evaluate.published.rows import TABLE_4, TABLE_5, PublishedRobustness

FIELDS = ("white_box_fgsm", "gray_box_pgd", "black_box_pgd", "imagenet_a")

# As printed in parentheses behind Table 5's accuracies.
PRINTED = {
    "+ CutMix": (26.55, 2.64, 5.05, 4.08),
    "+ DCutMix (K = 3, α = 1/3)": (18.56, 2.89, 5.72, 2.46),
    "+ Saliency-DCutMix (K = 3, α = 1/3)": (27.03, 3.53, 5.90, 4.31),
}


def column(field):
    return [getattr(row, field) for row in TABLE_5]


def test_column_sums_agree_with_the_printed_tables():
    # Added up from the columns of the paper's text.
    assert sum(row.aupr for row in TABLE_4) == pytest.approx(98.71)
    sums = [sum(column(field)) for field in FIELDS]
    assert sums == pytest.approx([129.50, 172.02, 200.71, 24.37])


def test_every_difference_that_table_5_prints_adds_up():
    baseline, *others = TABLE_5
    assert [row.method for row in others] == list(PRINTED)
    for row in others:
        found = [getattr(row, field) - getattr(baseline, field) for field in FIELDS]
        assert found == pytest.approx(PRINTED[row.method]), row.method


def test_the_papers_claims_hold_in_its_tables_as_far_as_the_docstring_says():
    best = max(TABLE_4, key=lambda row: row.aupr)
    assert best.method == "Vanilla"
    aupr = {row.method: row.aupr for row in TABLE_4}
    assert best.aupr - aupr["DMixup"] == pytest.approx(0.09)
    assert all(max(column(field)) == column(field)[-1] for field in FIELDS)
    _, cutmix, dcutmix, _ = TABLE_5
    assert dcutmix.gray_box_pgd - cutmix.gray_box_pgd == pytest.approx(0.25)
    assert dcutmix.black_box_pgd - cutmix.black_box_pgd == pytest.approx(0.67)
    assert cutmix.white_box_fgsm - dcutmix.white_box_fgsm == pytest.approx(7.99)


def test_rows_are_frozen_and_of_classifiers_that_table_3_has():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLE_5[0].imagenet_a = 0.0  # type: ignore[misc]
    assert isinstance(TABLE_5[0], PublishedRobustness)
    errors = {row.method.replace("ResNet-50 +", "+") for row in TABLE_3.rows}
    assert {row.method for row in TABLE_5} <= errors
