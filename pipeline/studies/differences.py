"""Differences of a study's settings from its reference, corrected for their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluate.statistics import Summary, holm, p_value, paired_difference
from pipeline.studies.results import TrialResult, by_setting, counterpart


@dataclass(frozen=True)
class Difference:
    """A setting's errors minus the reference's, paired by seed, in points.

    `summary` is None while no pair is complete. `p` is that of the paired t test, `p_holm` the same
    after Holm's correction; both are None with fewer than two pairs.
    """

    summary: Summary | None
    p: float | None
    p_holm: float | None

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
