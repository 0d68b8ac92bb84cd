"""How long work reports its progress and its messages to whoever shows them."""

from typing import Protocol


class Progress(Protocol):
    """Called as work advances; must not touch the work's tensors."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """`done` of `total` units (epochs, batches, …) are finished; `metrics` are for showing."""


def silent(done: int, total: int, unit: str, **metrics: float) -> None:
    """Show nothing."""


def silent_log(message: str) -> None:
    """Drop a message."""
