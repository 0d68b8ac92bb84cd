import dataclasses

import pytest

from evaluate.published.tables import TABLE_6

BY_NAME = {row.architecture: row for row in TABLE_6}


def test_table_6_has_nine_different_rows() -> None:
    assert len(BY_NAME) == len(TABLE_6) == 9


def test_dashes_are_none() -> None:
    assert BY_NAME["MnasNet-92"].search_cost_gpu_days is None
    assert BY_NAME["BayesNAS"].multiply_adds_millions is None
    dashes = [value for row in TABLE_6 for value in dataclasses.astuple(row) if value is None]
    assert len(dashes) == 2


def test_column_sums_agree_with_the_printed_table() -> None:
    # Added up from the columns of the paper's text.
    assert sum(row.top1_error for row in TABLE_6) == pytest.approx(225.6)
    assert sum(row.top5_error for row in TABLE_6) == pytest.approx(70.59)
    assert sum(row.parameters_millions for row in TABLE_6) == pytest.approx(48.8)
    assert sum(row.multiply_adds_millions or 0 for row in TABLE_6) == pytest.approx(4529)
    assert sum(row.search_cost_gpu_days or 0 for row in TABLE_6) == pytest.approx(3164.01)


def test_rows_are_frozen_and_sourced() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLE_6[0].top1_error = 0.0  # type: ignore[misc]
    assert all(row.source for row in TABLE_6)
