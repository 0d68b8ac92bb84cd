"""The ledger: one JSON line for the cost of each attempt at a stage.

The ledger is part of the artifact store, so a run that reuses an artifact can report its cost.
Reports compute costs from these lines only.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from classification.durations import format_cost
from classification.errors import ArtifactError
from classification.persistence.storage import storing

Outcome = Literal["done", "part", "interrupted", "failed", "killed"]
"""`part`: a part of the work, done beside the process that makes the artifact."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage. `seconds` is the wall-clock time for which it held `devices`, GPUs or
    processes on a CPU, each of these with `threads` threads; `started` is a timestamp that only
    identifies the attempt. `parts` are the seconds of named parts of it, such as pruning rounds.
    `waited_seconds` are those for which the main thread was ready and other programs held the
    processors; None where that was not recorded."""

    stage: str
    fingerprint: str
    run: str
    started: str
    seconds: float
    device: str
    device_kind: Literal["cpu", "gpu"]
    devices: int
    outcome: Outcome
    done: int = 0
    total: int = 0
    unit: str = ""
    peak_memory_bytes: int = 0
    software: str = ""
    threads: int = 1
    parts: Mapping[str, float] = field(default_factory=dict)
    waited_seconds: float | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> "Attempt":
        """Parse a line and ignore unknown fields. Raises ValueError if it is not an attempt."""
        try:
            return _ATTEMPT.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(
                f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
            ) from error

    @property
    def device_hours(self) -> float:
        """GPUs × wall-clock hours, or on a CPU processes × threads × wall-clock hours."""
        threads = self.threads if self.device_kind == "cpu" else 1
        return self.seconds / 3600 * self.devices * threads

    def is_same_as(self, other: "Attempt") -> bool:
        """Whether both describe one attempt: two cannot start on one artifact at the same time."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("stage", "fingerprint", "run", "started")
        )

    @property
    def how_far(self) -> str:
        """` at epoch n of m`, or an empty string for work without steps."""
        return f" at {self.unit} {self.done} of {self.total}" if self.total else ""


# Built once: building takes as long as reading hundreds of lines, and pydantic turns a signal
# received meanwhile into a schema error.
_ATTEMPT = TypeAdapter(Attempt)


@dataclass(frozen=True)
class Cost:
    """Hours per device kind: GPU-hours and CPU-hours are never converted into each other.

    A CPU-hour is an hour of one core. `wall_hours` is the wall-clock time.
    """

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    wall_hours: float = 0.0

    @classmethod
    def of(cls, attempts: Iterable[Attempt]) -> "Cost":
        hours, wall = {"gpu": 0.0, "cpu": 0.0}, 0.0
        for attempt in attempts:
            hours[attempt.device_kind] += attempt.device_hours
            wall += attempt.seconds / 3600
        return cls(hours["gpu"], hours["cpu"], wall)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.gpu_hours + other.gpu_hours,
            self.cpu_hours + other.cpu_hours,
            self.wall_hours + other.wall_hours,
        )

    def __truediv__(self, number: int) -> "Cost":
        return Cost(self.gpu_hours / number, self.cpu_hours / number, self.wall_hours / number)

    def __str__(self) -> str:
        parts = [format_cost(hours, unit) for hours, unit in self._parts() if hours]
        return " + ".join(parts) or format_cost(0.0, self.unit)

    @property
    def unit(self) -> str:
        """GPU-hours, CPU-hours, or both joined if a run used both kinds of device."""
        return " + ".join(unit for hours, unit in self._parts() if hours) or "CPU-hours"

    @property
    def hours(self) -> float | None:
        """The hours if only one kind of device was used; None for a mixture."""
        used = [hours for hours, _ in self._parts() if hours]
        return None if len(used) > 1 else sum(used)

    def _parts(self) -> list[tuple[float, str]]:
        return [(self.gpu_hours, "GPU-hours"), (self.cpu_hours, "CPU-hours")]


def software_of(attempts: Iterable[Attempt]) -> str:
    """Return the versions of torch and of this code that the attempts used."""
    return "; ".join(sorted({attempt.software for attempt in attempts} - {""})) or "not recorded"


def last_making(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts, of one stage's in time order, that made its current artifact: those
    after the previous completed one, up to the last completed one. Empty if none completed."""
    done = [index for index, attempt in enumerate(attempts) if attempt.outcome == "done"]
    if not done:
        return []
    first = done[-2] + 1 if len(done) > 1 else 0
    return list(attempts[first : done[-1] + 1])


class Ledger:
    """The file of attempts. Each line is appended in one write, so concurrent runs do not mix."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, attempt: Attempt) -> None:
        """Append one line and flush it to disk, unless the attempt already has a line.

        Safe to call again, as after a kill between this and the removal of the attempt's record.
        """
        line = (json.dumps(asdict(attempt)) + "\n").encode()
        # On a network file system, appending is not atomic between machines.
        lock = FileLock(self.path.with_name(f".lock-{self.path.stem}"))
        with storing(self.path, len(line)), lock:
            recorded = self.attempts([attempt.fingerprint])
            if not any(attempt.is_same_as(other) for other in recorded):
                self._write(line)

    def _write(self, line: bytes) -> None:
        if self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n"):
            line = b"\n" + line  # keep this line separate from an incomplete last line
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        length = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, length)  # never leave a partial line
            raise
        finally:
            os.close(descriptor)

    def attempts(self, fingerprints: Iterable[str] | None = None) -> list[Attempt]:
        """Return all attempts, or those at the given artifacts, oldest first, skipping invalid
        lines."""
        wanted = None if fingerprints is None else set(fingerprints)
        attempts = (attempt for _, attempt in self.lines() if attempt is not None)
        return [each for each in attempts if wanted is None or each.fingerprint in wanted]

    def lines(self) -> Iterator[tuple[int, Attempt | None]]:
        """Yield the number, from 1, of every non-empty line, and its attempt or None if invalid.

        Raises ArtifactError, naming the file, if it cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise ArtifactError(f"{self.path}: cannot be read ({error.strerror})") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, Attempt.from_json(line)
                except ValueError:
                    yield number, None


def start_time() -> str:
    """Return the UTC time to the millisecond, which identifies an attempt at an artifact."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
