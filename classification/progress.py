"""Callbacks through which long work reports progress and messages."""

from typing import Protocol


class Progress(Protocol):
    """Called as work advances; must not touch the work's tensors."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """`done` of `total` units (epochs, batches, …) are finished; `metrics` are for display."""


def silent(done: int, total: int, unit: str, **metrics: float) -> None:
    """Show nothing."""


def silent_log(message: str) -> None:
    """Drop a message."""
