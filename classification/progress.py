"""Callbacks through which long work reports progress and messages."""

from collections.abc import Callable
from typing import Protocol

Spent = Callable[[str, float], None]  # a named part of the work, and the seconds it took


class Progress(Protocol):
    """Called as work advances; must not touch the work's tensors."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """`done` of `total` units (epochs, batches, …) are finished; `metrics` are for display."""


def silent(done: int, total: int, unit: str, **metrics: float) -> None:
    """Show nothing."""


def silent_log(message: str) -> None:
    """Drop a message."""


def unrecorded(part: str, seconds: float) -> None:
    """Drop the seconds of a part of the work."""
