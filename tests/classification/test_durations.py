import pytest

from classification.durations import cost_scale, format_cost, format_duration, format_estimate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.00001, "<0.001 s"),
        (0.2376, "0.238 s"),
        (59.94, "59.9 s"),
        (59.96, "60 s"),
        (60.0, "1 min"),
        (205.2, "3.42 min"),
        (3600.0, "1 h"),
        (45_000.0, "12.5 h"),
        (5_408_280.0, "1,502 h"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_of_its_size(seconds, text):
    assert format_duration(seconds) == text


def test_an_estimate_below_a_second_has_no_figures():
    assert [format_estimate(each) for each in (0.0, 0.001, 0.99, 1.0)] == [
        "0 s",
        "<1 s",
        "<1 s",
        "1 s",
    ]


def test_a_cost_is_in_device_seconds_minutes_or_hours_and_in_the_singular_for_one():
    assert format_cost(6.6e-5, "CPU-hours") == "0.238 CPU-seconds"
    assert format_cost(0.057, "GPU-hours") == "3.42 GPU-minutes"
    assert format_cost(1.0, "GPU-hours") == "1 GPU-hour"
    assert format_cost(12.5, "CPU-hours") == "12.5 CPU-hours"


def test_costs_of_one_axis_share_the_unit_of_the_largest():
    assert cost_scale(0.5, "CPU-hours") == (60.0, "CPU-minutes")
    assert cost_scale(2.0, "CPU-hours") == (1.0, "CPU-hours")
