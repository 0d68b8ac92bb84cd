"""The expected cost of a stage and of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from classification.durations import format_estimate
from pipeline.runner import Action
from pipeline.stages.search import SEARCHES

_BUSY = 0.1  # share of the measuring spent waiting for a processor that is worth a line
_BEFORE_RETRAINING = ("scorer", "scores", "baseline", "subset", *SEARCHES)


@dataclass(frozen=True)
class Expected:
    """Seconds of a stage; `low` and `high` are a range and `note` its reason, where something that
    decides the cost is not known yet. `cut` is the images of a measured batch that replaced a
    larger one."""

    seconds: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    cut: int | None = None


@dataclass(frozen=True)
class StageEstimate:
    """The expected cost of a stage in device-hours, None if not estimated; `low` and `high` are
    a range, if the cost depends on something not known yet. `cut` is as in `Expected`, where a
    batch of the stage has `batch` images."""

    stage: str
    action: Action
    hours: float | None
    low: float | None = None
    high: float | None = None
    peak_memory_bytes: int | None = None
    note: str = ""
    cut: int | None = None
    batch: int | None = None

    @property
    def lowest(self) -> float:
        """The lower end of the range, or the hours where there is none; 0 if not estimated."""
        return (self.hours if self.low is None else self.low) or 0.0

    @property
    def highest(self) -> float:
        """The upper end of the range, or the hours where there is none; 0 if not estimated."""
        return (self.hours if self.high is None else self.high) or 0.0


@dataclass(frozen=True)
class RunEstimate:
    """The stages of a run, in order. `waited` is the share of the measuring for which other
    programs held the processors; the hours are those of a machine without them. `of_search` are
    the stages whose cost is that of the search. `held` are the device-hours of an hour."""

    stages: tuple[StageEstimate, ...]
    waited: float = 0.0
    of_search: tuple[str, ...] = ("search",)
    held: float = 1.0

    @property
    def expected(self) -> str:
        """A text such as `expected: 4 min, at most 5 min (search 1 min, retrain 3 min) if no other
        program runs`, of wall-clock time; stages of less than a second are left out. If other
        programs held the processors for a tenth of the measuring, what a run beside them takes."""
        stages = ", ".join(
            f"{each.stage} {self._duration(each.hours or 0.0)}"
            for each in self.stages
            if self.wall_seconds(each.hours or 0.0) >= 1
        )
        most = f", at most {self._duration(self.high)}" if self.high > self.total else ""
        of_stages = f" ({stages})" if stages else ""
        text = f"expected: {self._duration(self.total)}{most}{of_stages} if no other program runs"
        if not self.is_busy:
            return text
        beside = self._duration(self.total / (1 - self.waited))
        return f"{text}, about {beside} if others take as much as during the measuring"

    @property
    def is_busy(self) -> bool:
        """Whether other programs held the processors for a tenth of the measuring."""
        return self.waited > _BUSY

    @property
    def caution(self) -> str:
        """What a busy machine does to the times. A thread that waits for one without a processor
        keeps its own busy, which the clock counts as work."""
        rough = "rough and probably too long for a free machine" if self.held > 1 else "rough"
        return (
            f"other programs held the processors for {self.waited:.0%} of the measuring, so the "
            f"times are {rough}"
        )

    def _duration(self, hours: float) -> str:
        return format_estimate(self.wall_seconds(hours))

    def wall_seconds(self, hours: float) -> float:
        """Return the wall-clock seconds of device-hours."""
        return 3600 * hours / self.held

    @property
    def total(self) -> float:
        """Device-hours of all stages that are estimated."""
        return self._sum([each.stage for each in self.stages])

    @property
    def low(self) -> float:
        """Device-hours of all stages, each at the lower end of its range."""
        return sum(each.lowest for each in self.stages)

    @property
    def high(self) -> float:
        """Device-hours of all stages, each at the upper end of its range."""
        return sum(each.highest for each in self.stages)

    @property
    def before_retraining(self) -> float:
        """Device-hours of the search and the stages before it."""
        return self._sum(_BEFORE_RETRAINING)

    @property
    def search_alone(self) -> float:
        """Device-hours of the search and its restarts; papers report one search."""
        return self._sum(self.of_search)

    @property
    def not_estimated(self) -> list[str]:
        """Stages that are not estimated and so not in the totals."""
        return [each.stage for each in self.stages if each.hours is None]

    def _sum(self, stages: Sequence[str]) -> float:
        return sum(each.hours or 0.0 for each in self.stages if each.stage in stages)
