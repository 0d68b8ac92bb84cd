"""Takes part in a stage that another process makes, if its work has parts that can be shared.

Each part that is done here is an attempt of its own in the ledger; waiting is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from classification.errors import InterruptedRunError
from classification.progress import Progress
from pipeline.console import Console
from pipeline.graph import Context, Stage
from pipeline.store.ledger import Attempt, Outcome
from pipeline.store.parts import Parts, PartsClosedError
from pipeline.store.stopwatch import Stopwatch
from pipeline.store.store import Store

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

_POLL_SECONDS = 0.2


class _Runner(Protocol):
    """What is used of the runner."""

    stages: Mapping[str, Stage[Any]]
    keys: dict[str, str]
    store: Store
    console: Console
    device: torch.device
    datasets: Mapping[str, ImageDataset]

    def attempt(self, name: str) -> Attempt:
        """Return an attempt at a stage that begins now."""


def take_part(
    runner: _Runner, name: str, context_of: Callable[[Path, Progress, Parts], Context[Any]]
) -> None:
    """Help with the stage `name` until no part is left, or until no process makes it any more.

    An error here ends only the help: the process that makes the artifact does the part again.
    """
    help_ = runner.stages[name].help
    assert help_ is not None
    work = runner.store.workspace(name, runner.keys[name])
    while runner.store.is_locked(name, runner.keys[name]):
        parts = _Helping(runner, name)
        if parts.are_open:
            try:
                evaluated = runner.stages[name].evaluated(runner.datasets)
                with runner.console.progress(name, runner.device.type, evaluated=evaluated) as show:
                    parts.show = show
                    help_(context_of(work, parts, parts))
                return
            except PartsClosedError:
                continue
            except KeyboardInterrupt as stop:
                message = f"interrupted while helping with {name}"
                raise InterruptedRunError(message, stage=name) from stop
            except Exception as error:
                runner.console.log(f"{name:8} helps no more: {' '.join(str(error).split())}")
                return
        time.sleep(_POLL_SECONDS)


class _Helping(Parts):
    """The parts of another process's work; books those done here, and shows their progress."""

    show: Progress

    def __init__(self, runner: _Runner, name: str) -> None:
        self._runner, self._name, self._key = runner, name, runner.keys[name]
        self._stopwatch: Stopwatch | None = None
        super().__init__(runner.store.workspace(name, self._key), runner.store.ledger)

    @property
    def are_open(self) -> bool:
        return super().are_open and self._runner.store.is_locked(self._name, self._key)

    @contextmanager
    def booked(self, name: str) -> Iterator[None]:
        attempt = self._runner.attempt(self._name)
        self._stopwatch = Stopwatch(self._runner.store.ledger, self._work / name, attempt)
        done: Outcome = "failed"
        try:
            yield
            done = "part"
        except (KeyboardInterrupt, PartsClosedError):
            done = "interrupted"
            raise
        finally:
            self._stopwatch.give_up(done)
            self._stopwatch = None

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """Show progress. Raises PartsClosedError after an epoch if the work is no longer shared."""
        self.show(done, total, unit, **metrics)
        if unit == "step":
            return
        if self._stopwatch is not None:
            self._stopwatch.progress(done, total, unit)
        if not self.are_open:
            raise PartsClosedError
