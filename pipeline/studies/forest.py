"""Order of a study's settings by their difference, and an axis to draw intervals on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from evaluate.statistics import Summary
from pipeline.studies.differences import Difference
from pipeline.studies.results import TrialResult, counterpart
from pipeline.studies.tables import Settings, error_of

_MARGIN = 14  # pixels


@dataclass(frozen=True)
class Row:
    """A setting. `drawn` is its difference from the reference or, in a study without one, its
    error; `verdict` says what a test of the difference found, or which setting is the reference."""

    key: tuple[str, str]
    drawn: Summary | None
    verdict: str


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from the first of its ticks to the last in `width` pixels, with a margin
    for their labels; with a line at 0 if `zero`."""

    ticks: Sequence[float]
    zero: bool
    width: int = 190

    @classmethod
    def over(cls, drawn: Iterable[Summary | None], zero: bool) -> "Axis | None":
        """Return the axis of means and intervals, 0 included if `zero`; None without a mean."""
        ends = [v for s in drawn if s for v in (s.mean, s.low, s.high) if v is not None]
        if not ends:
            return None
        ends += [0.0] if zero else []
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(min(ends), max(ends))
        return cls([float(tick) for tick in ticks], zero)

    def at(self, value: float) -> str:
        """Return the position of a value, pixels from the left."""
        low, high = self.ticks[0], self.ticks[-1]
        share = (value - low) / (high - low)
        return f"{_MARGIN + (self.width - 2 * _MARGIN) * share:.1f}"


def forest(
    settings: Settings,
    results: Sequence[TrialResult],
    reference: str | None,
    differences: Mapping[tuple[str, str], Difference],
) -> tuple[Axis | None, dict[str | None, list[Row]]]:
    """Return the axis, and the settings by the point of the reference with which they are compared,
    None for those without a counterpart. Each group rises from the lowest difference or, after
    these and where there is none, from the lowest error."""
    groups: dict[str | None, list[Row]] = {
        label: [] for series, label in settings if series == reference
    }
    errors = {key: error_of(trials) for key, trials in settings.items()}
    for key, trials in settings.items():
        other, found = counterpart(trials[0], reference, results), differences.get(key)
        drawn = errors[key] if reference is None else found.summary if found else None
        untested = "reference" if key[0] == reference else "no counterpart"
        row = Row(key, drawn, found.verdict if found else untested)
        groups.setdefault(other.trial.label if other else None, []).append(row)

    def rank(row: Row) -> tuple[bool, float]:
        if row.verdict == "reference":
            return False, 0.0
        shown = row.drawn or errors[row.key]
        return row.drawn is None, shown.mean if shown else float("inf")

    axis = Axis.over((row.drawn for rows in groups.values() for row in rows), reference is not None)
    return axis, {label: sorted(rows, key=rank) for label, rows in groups.items() if rows}
