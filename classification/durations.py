"""Durations and costs as text: seconds under a minute, minutes under an hour, then hours."""

_SCALES = ((3600.0, "hours", "h"), (60.0, "minutes", "min"), (1.0, "seconds", "s"))
_LEAST = 0.001  # smaller figures are shown as less than this


def format_duration(seconds: float) -> str:
    """Format a wall-clock duration with three significant digits: `0.24 s`, `3.4 min`, `12.5 h`."""
    size, _, symbol = _scale(seconds)
    return f"{three_figures(seconds / size)} {symbol}"


def format_estimate(seconds: float) -> str:
    """Format an estimated duration: like any other, but `<1 s` below a second."""
    return "<1 s" if 0 < seconds < 1 else format_duration(seconds)


def format_cost(hours: float, unit: str) -> str:
    """Format device-hours, of a `unit` such as CPU-hours, like a duration: `3.4 CPU-minutes`."""
    return " ".join(cost_and_unit(hours, unit))


def cost_and_unit(hours: float, unit: str) -> tuple[str, str]:
    """Return the number and the unit of `format_cost`."""
    factor, unit = cost_scale(hours, unit)
    number = three_figures(hours * factor)
    return number, unit.removesuffix("s") if number == "1" else unit


def cost_scale(hours: float, unit: str) -> tuple[float, str]:
    """Return the factor that converts hours to the unit in which `hours` is shown, and that unit.

    For an axis or a column of several costs, `hours` is the largest of them.
    """
    size, word, _ = _scale(hours * 3600)
    return 3600 / size, unit.replace("hours", word)


def three_figures(number: float) -> str:
    """Format a number of at least 0 with three significant digits and without an exponent."""
    if 0 < number < _LEAST:
        return f"<{_LEAST}"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _scale(seconds: float) -> tuple[float, str, str]:
    return next((scale for scale in _SCALES if seconds >= scale[0]), _SCALES[-1])
