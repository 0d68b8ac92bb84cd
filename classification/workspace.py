"""A folder in which long work leaves its checkpoints and metrics, and from which it resumes."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from classification.checkpoint import State, load_checkpoint, save_checkpoint
from classification.errors import ArtifactError

METRICS = "metrics.jsonl"
_KEPT = 2  # the newest checkpoint, and the one before it in case the newest is damaged


class Progress(Protocol):
    """Called as work advances; must not touch the work's tensors."""

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        """`done` of `total` units (epochs, batches, …) are finished; `metrics` are for showing."""


def silent(done: int, total: int, unit: str, **metrics: float) -> None:
    """A progress that shows nothing."""


def unheard(message: str) -> None:
    """A message that nobody is told."""


class Workspace:
    """Checkpoints numbered by finished steps, and one metrics row a step.

    A checkpoint and its row belong together: `resume` drops rows that are newer than the
    checkpoint it returns, so a killed run leaves the same metrics file as an uninterrupted one.
    Rows therefore hold nothing that differs between two runs of the same work, such as times.
    """

    def __init__(
        self,
        directory: Path,
        progress: Progress = silent,
        say: Callable[[str], None] = unheard,
    ) -> None:
        self.directory = directory
        self.progress, self.say = progress, say
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the result called `name` belongs."""
        return self.directory / name

    def resume(self) -> tuple[int, State]:
        """(finished steps, state) of the newest whole checkpoint; (0, {}) if there is none."""
        for path in reversed(self._checkpoints()):
            with contextlib.suppress(ArtifactError):
                step, state = _step(path), load_checkpoint(path)
                self._truncate_metrics(step)
                return step, state
        self._truncate_metrics(0)
        return 0, {}

    def save(self, step: int, state: State, row: Mapping[str, Any] | None = None) -> None:
        """Record that `step` steps are finished, with what is needed to go on from there."""
        if row is not None:
            with self.path(METRICS).open("a") as file:
                file.write(json.dumps(row) + "\n")
        save_checkpoint(self._checkpoint(step), state)
        for old in self._checkpoints()[:-_KEPT]:
            old.unlink()

    def rows(self) -> list[dict[str, Any]]:
        """The metrics so far, one mapping a step."""
        return read_metrics(self.directory)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints; the work is finished and its results stand beside them."""
        for path in self.directory.glob("checkpoint-*"):
            path.unlink()

    def _checkpoint(self, step: int) -> Path:
        return self.directory / f"checkpoint-{step:06d}.safetensors"

    def _checkpoints(self) -> list[Path]:
        return sorted(self.directory.glob("checkpoint-*.safetensors"))

    def _truncate_metrics(self, step: int) -> None:
        path = self.path(METRICS)
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)[:step]
            path.write_text("".join(lines))


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The rows of a finished or running work's metrics file; none if it has not written any."""
    path = directory / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("checkpoint-"))
