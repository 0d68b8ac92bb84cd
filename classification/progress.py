"""Callbacks through which long work reports progress and messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Spent = Callable[[str, float], None]  # a named part of the work, and the seconds it took


class Progress(Protocol):
    """Called as work advances; must not touch the work's tensors."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """`done` of `total` units (epochs, batches, …) are finished; `metrics` are for display."""


@dataclass(frozen=True)
class PartOfWork:
    """Reports the progress of one training, in epochs, as progress of several."""

    progress: Progress
    before: int
    total: int
    evaluated: str = "test"
    """What the dataset's test split holds, for the display."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """Add the epochs of the trainings before; steps are reported unchanged."""
        if unit == "step":
            self.progress(done, total, unit, **metrics)
            return
        named = {name.replace("test", self.evaluated): value for name, value in metrics.items()}
        self.progress(self.before + done, self.total, unit, **named)


def silent(done: int, total: int, unit: str, **metrics: float) -> None:
    """Show nothing."""


def silent_log(message: str) -> None:
    """Drop a message."""


def unrecorded(part: str, seconds: float) -> None:
    """Drop the seconds of a part of the work."""
