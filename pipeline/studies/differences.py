"""Differences of a study's settings from its reference, corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluate.statistics import Summary, holm, p_value, paired_difference
from pipeline.studies.results import TrialResult, by_setting, counterpart

LEVEL = 0.05  # of the p values after Holm's correction
_MOST_NAMES = 3  # settings that the sentence names


@dataclass(frozen=True)
class Difference:
    """A setting's errors minus the reference's, paired by seed, in points.

    `summary` is None while no pair is complete. `p` is that of the paired t test, `p_holm` the same
    after Holm's correction; both are None with fewer than two pairs.
    """

    summary: Summary | None
    p: float | None
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """`lower` or `higher` if the corrected p value is below `LEVEL`, `not told apart` if it is
        not, `not tested` with fewer than two pairs, `unfinished` without any."""
        if self.summary is None:
            return "unfinished"
        if self.p_holm is None:
            return "not tested"
        if self.p_holm >= LEVEL:
            return "not told apart"
        return "lower" if self.summary.mean < 0 else "higher"

    def as_json(self) -> dict[str, Any] | None:
        """Return the values as written to results.json."""
        if self.summary is None:
            return None
        return vars(self.summary) | {"p": self.p, "p_holm": self.p_holm}


def compare_settings(
    results: Sequence[TrialResult], reference: str | None
) -> dict[tuple[str, str], Difference]:
    """Return the difference of every setting of another series that has a counterpart in the
    reference.

    These settings are the comparisons that are corrected for. Unfinished ones are among them, so
    that a corrected p value of an unfinished study does not grow with each further setting.
    """
    summaries: dict[tuple[str, str], Summary | None] = {}
    for key, trials in by_setting(results).items():
        pairs = [(trial, counterpart(trial, reference, results)) for trial in trials]
        if key[0] == reference or not any(other for _, other in pairs):
            continue
        whole = [
            (trial.trial.seed, trial.top1_error, other.top1_error)
            for trial, other in pairs
            if other and trial.top1_error is not None and other.top1_error is not None
        ]
        mine, theirs = ({row[0]: row[column] for row in whole} for column in (1, 2))
        summaries[key] = paired_difference(mine, theirs) if whole else None
    found = [None if summary is None else p_value(summary) for summary in summaries.values()]
    return {
        key: Difference(summary, p, corrected)
        for (key, summary), p, corrected in zip(summaries.items(), found, holm(found), strict=True)
    }


def describe_differences(
    differences: Mapping[tuple[str, str], Difference],
    reference: str,
    names: Mapping[tuple[str, str], str],
) -> str:
    """Return how many settings are told apart from the reference and to which side, a few of them
    by name, how that was tested, and how wide the intervals are."""
    tested = [d.summary for d in differences.values() if d.summary and d.p_holm is not None]
    if not tested:
        return (
            f"No setting can be told apart from {reference} yet: a test needs the errors of both "
            "at two seeds or more."
        )
    found: dict[str, list[str]] = {}
    for key, difference in differences.items():
        found.setdefault(difference.verdict, []).append(names[key])
    number, sides = len(differences), [side for side in ("lower", "higher") if side in found]
    parts = [f"None of {number} setting{'s' * (number > 1)} is told apart from {reference}"]
    for place, side in enumerate(sides):
        names_of = found[side]
        of_all = f" of {number} setting{'s' * (number > 1)}" if place == 0 else ""
        has = f"{len(names_of)}{of_all} {'has' if len(names_of) == 1 else 'have'}"
        error = f"a {side} error than {reference}" if place == 0 else f"a {side} one"
        few = f" ({'; '.join(names_of)})" if len(names_of) <= _MOST_NAMES else ""
        parts[place:] = [f"{has} {error}{few}"]
    finding = [f"{' and '.join(parts)}."]
    if equal := len(found.get("not told apart", [])):
        others = f"{equal} {'is' if equal == 1 else 'are'} not told apart from it, which"
        they = "it is" if equal == 1 else "they are"
        finding.append(f"{others if sides else 'That'} does not mean that {they} equal.")
    if untested := number - len(tested):
        finding.append(f"{untested} could not be tested yet.")
    halves = sorted(round(s.high - s.mean, 1) for s in tested if s.high is not None)
    seeds, widths = _range(sorted(summary.n for summary in tested)), _range(halves)
    finding.append(
        f"Paired t tests over n = {seeds} seeds at p < {LEVEL:g}, with Holm's correction for "
        f"{number} comparison{'s' * (number > 1)}. The 95 % interval of a difference, uncorrected, "
        f"is ± {widths} points."
    )
    return " ".join(finding)


def _range(values: Sequence[object]) -> str:
    """Return the first and last of sorted values, once if they are the same."""
    low, high = values[0], values[-1]
    return f"{low}" if low == high else f"{low} to {high}"
