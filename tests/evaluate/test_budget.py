from typing import Any

import pytest
from pydantic import ValidationError

from evaluate.budget import BudgetConfig


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("5M", 5_000_000),
        ("600 M", 600_000_000),
        ("1.5G", 1_500_000_000),
        ("0.3B", 300_000_000),
        ("12.25K", 12_250),
        ("5e6", 5_000_000),
        (5.0, 5),
        (7, 7),
    ],
)
def test_counts_are_read_exactly(text: Any, count: int) -> None:
    assert BudgetConfig(parameters=text).parameters == count


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("20ms", 20), ("0.02s", 20), ("1500us", 1.5), ("1.5 µs", 0.0015)]
)
def test_times_are_read_in_milliseconds(text: str, milliseconds: float) -> None:
    assert BudgetConfig.model_validate({"latency": text}).latency == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "5m",
        "M",
        "",
        "5 M M",
        "-5M",
        0,
        "0.5",
        "1.0001K",
        "nan",
        "inf",
        "1e999999",
        "9e99G",
        True,
        [],
    ],
)
def test_what_is_no_count_is_refused(text: Any) -> None:
    with pytest.raises(ValidationError, match="allowed: a number above 0, optionally with K, M"):
        BudgetConfig.model_validate({"multiply_adds": text})


@pytest.mark.parametrize("text", [20, "20", "20m", "0ms", "-1s", "1h", "nanms", "1e99s", None, {}])
def test_a_time_needs_its_unit(text: Any) -> None:
    values = {"latency": text, "parameters": 1 if text is not None else None}
    with pytest.raises(ValidationError, match=r"a time above 0 with its unit|at least one of"):
        BudgetConfig.model_validate(values)


def test_a_dumped_budget_reads_equal() -> None:
    budget = BudgetConfig.model_validate({"multiply_adds": "600M", "latency": "0.1us"})
    dumped = budget.model_dump(mode="json")
    assert dumped == {"parameters": None, "multiply_adds": 600_000_000, "latency": "0.0001ms"}
    assert BudgetConfig.model_validate(dumped) == budget
