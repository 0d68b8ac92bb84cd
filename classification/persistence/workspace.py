"""The folder of unfinished work: its checkpoints and metrics, and resuming from them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.errors import ArtifactError
from classification.persistence.storage import storing, write_atomically
from classification.progress import Progress, Spent, silent, silent_log, unrecorded
from classification.world import ALONE, World

if TYPE_CHECKING:
    from classification.persistence.checkpoint import State

METRICS = "metrics.jsonl"
_KEPT = 2  # the newest checkpoint, and the one before it in case the newest is damaged
_CHECKPOINT = re.compile(r"checkpoint-\d+(-\d+)?\.safetensors")


class Workspace:
    """Checkpoints numbered by finished steps, and one metrics row per step.

    A checkpoint holds the rows up to it, and `resume` rewrites the metrics file from them, so a
    killed run leaves the same metrics as an uninterrupted one. Rows must not hold values that
    differ between two runs of the same work, such as times.

    A damaged checkpoint is logged and the one before it used. Long steps can be saved in parts.
    Each process of a `world` has a separate directory; all resume from the first one's checkpoint.
    `spent` takes what a named part of the work took, in seconds, for the ledger.
    """

    def __init__(
        self,
        directory: Path,
        progress: Progress = silent,
        log: Callable[[str], None] = silent_log,
        world: World = ALONE,
    ) -> None:
        self.directory = directory
        self.progress, self.log, self.world = progress, log, world
        self.spent: Spent = unrecorded
        self._lines: list[str] = []  # of the metrics file
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.directory / name

    def resume(self) -> tuple[int, State]:
        """Return (finished steps, state) of the newest checkpoint after a step; else (0, {})."""
        step, _, state = self._resume_at(parts=False)
        return step, state

    def resume_part(self) -> tuple[int, int, State]:
        """Return (steps, parts of the next step, state) finished at the newest checkpoint."""
        return self._resume_at(parts=True)

    def save(self, step: int, state: State, row: Mapping[str, Any] | None = None) -> None:
        """Save a checkpoint after `step` steps, and append `row` to the metrics."""
        if row is not None:
            self._lines.append(json.dumps(row) + "\n")
            path, line = self.path(METRICS), self._lines[-1]
            with storing(path, len(line)), path.open("a") as file:
                file.write(line)
        self._save(step, 0, state)

    def save_part(self, step: int, part: int, state: State) -> None:
        """Save a checkpoint after `step` steps and `part` parts of the next one."""
        self._save(step, part, state)

    def rows(self) -> list[dict[str, Any]]:
        return read_metrics(self.directory)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints, once the work is finished or cannot be resumed."""
        for path in self.directory.glob("checkpoint-*"):
            path.unlink()

    def _save(self, step: int, part: int, state: State) -> None:
        if not self.world.is_first:
            return
        from classification.persistence.checkpoint import save_checkpoint  # slow to import: torch

        ending = f"-{part:06d}" if part else ""
        content = {"place": [step, part], "metrics": "".join(self._lines), "state": state}
        save_checkpoint(self.path(f"checkpoint-{step:06d}{ending}.safetensors"), content)
        standing = checkpoints(self.directory)
        kept = {*standing[-_KEPT:], *[path for path in standing if not _place(path)[1]][-_KEPT:]}
        for old in set(standing) - kept:
            old.unlink()

    def _resume_at(self, parts: bool) -> tuple[int, int, State]:
        step, part, state, self._lines = self.world.from_first(lambda: self._find(parts))
        if self._lines or self.path(METRICS).exists():
            write_atomically(self.path(METRICS), "".join(self._lines))
        return step, part, state

    def _find(self, parts: bool) -> tuple[int, int, State, list[str]]:
        """Read the newest intact checkpoint and the metrics up to it."""
        damaged: list[ArtifactError] = []
        found: tuple[int, int, State, list[str]] = 0, 0, {}, []
        beginning = "starting again"
        for path in reversed(checkpoints(self.directory)):
            if _place(path)[1] and not parts:
                continue
            try:
                found = _read(path)
            except ArtifactError as error:
                damaged.append(error)
                continue
            beginning = f"resuming from {path.name}"
            break
        for reason in damaged:
            self.log(f"warning: {reason}; {beginning}")
        return found


def checkpoints(directory: Path) -> list[Path]:
    """List the checkpoint files, oldest first, without reading them."""
    named = (p for p in directory.glob("checkpoint-*") if _CHECKPOINT.fullmatch(p.name))
    return sorted(named, key=_place)


def finished_steps(directory: Path) -> int:
    """Return the number of finished steps by the newest checkpoint's name."""
    return max((_place(path)[0] for path in checkpoints(directory)), default=0)


def check_checkpoint(path: Path) -> None:
    """Raise ArtifactError, naming the file, unless `resume` can use it."""
    _read(path)


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of the metrics file; an empty list if there is none."""
    path = directory / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _place(path: Path) -> tuple[int, int]:
    """Return the steps, and parts of the next step, finished at a checkpoint."""
    step, _, part = path.stem.removeprefix("checkpoint-").partition("-")
    return int(step), int(part or 0)


def _read(path: Path) -> tuple[int, int, State, list[str]]:
    """Read the finished steps and parts of the next one, the state and the metrics lines."""
    from classification.persistence.checkpoint import load_checkpoint

    content = load_checkpoint(path)
    try:
        (step, part), metrics, state = (content[key] for key in ("place", "metrics", "state"))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: made by another version of this code") from error
    if (step, part) != _place(path):
        raise ArtifactError(f"{path}: its name does not match its step {step} and part {part}")
    return step, part, state, metrics.splitlines(keepends=True)
