"""Times an attempt at a stage, on disk, so that a SIGKILL does not lose its cost.

The record of an attempt is in the stage's workspace, is published with it, and is removed once the
ledger has its line. A process that finds the record of a killed process adds it to the ledger.
"""

import json
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from classification.errors import ArtifactError, StorageError
from classification.persistence.storage import write_atomically
from classification.progress import Progress
from pipeline.store.ledger import Attempt, Ledger, Outcome

RECORD = "attempt.json"
_CLOCK = "attempt.seconds"
# Linux: ns of the main thread on a processor, ns waiting for one, …
_SCHEDULE = Path("/proc/self/schedstat")
_RECORD_SECONDS = 0.5  # between two records, which are flushed to disk
_CLOCK_SECONDS = 0.02  # between two clock readings: at most this much of an attempt is lost


class Stopwatch:
    """A running attempt.

    A thread writes the record twice a second and, in between, only the seconds, in place and
    without flushing: these survive a kill, though not a power cut. `begin`, in monotonic seconds,
    is the start of an attempt that started before `folder` was ready.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, attempt: Attempt, begin: float | None = None
    ) -> None:
        self._ledger, self._folder, self._attempt = ledger, folder, attempt
        self._begin = time.monotonic() if begin is None else begin
        self._waited = waited(_SCHEDULE)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        if attempt.device_kind == "gpu":
            import torch  # slow to import, and needed for a GPU alone

            torch.cuda.reset_peak_memory_stats()
        # Before the record, which must not be read with the previous attempt's seconds.
        (folder / _CLOCK).write_bytes(b"")
        self._write(self._now())
        self._thread.start()

    def progress(self, done: int, total: int, unit: str) -> None:
        with self._lock:
            self._attempt = replace(self._attempt, done=done, total=total, unit=unit)

    def spent(self, part: str, seconds: float) -> None:
        """Add the seconds of a named part of the work."""
        with self._lock:
            before = self._attempt.parts
            parts = {**before, part: before.get(part, 0.0) + seconds}
            self._attempt = replace(self._attempt, parts=parts)

    def stop(self, outcome: Outcome) -> Attempt:
        """Stop the clock and leave the record in the folder for `record_attempt`."""
        self._stop.set()
        self._thread.join()
        attempt = replace(self._now(), outcome=outcome)
        self._write(attempt)
        return attempt

    def finish(self, outcome: Outcome) -> Attempt:
        """Stop the clock and add the attempt to the ledger.

        Raises StorageError if writing fails; the record then stays in the folder, and the next
        attempt adds it to the ledger.
        """
        attempt = self.stop(outcome)
        record_attempt(self._ledger, self._folder)
        return attempt

    def give_up(self, outcome: Outcome) -> Attempt:
        """Like `finish`, for work that has failed: a storage error must not hide that failure."""
        with suppress(StorageError):
            return self.finish(outcome)
        return replace(self._now(), outcome=outcome)

    def _now(self) -> Attempt:
        with self._lock:
            return replace(
                self._attempt,
                seconds=self._seconds(),
                peak_memory_bytes=peak_memory(self._attempt.device_kind),
                waited_seconds=round(waited(_SCHEDULE) - self._waited, 3),
            )

    def _seconds(self) -> float:
        return round(time.monotonic() - self._begin, 3)

    def _write(self, attempt: Attempt) -> None:
        write_atomically(self._folder / RECORD, json.dumps(asdict(attempt)))

    def _beat(self) -> None:
        recorded = self._seconds()
        with suppress(OSError), (self._folder / _CLOCK).open("r+b", buffering=0) as clock:
            while not self._stop.wait(_CLOCK_SECONDS):
                with suppress(OSError, StorageError):  # the last record written stays valid
                    os.pwrite(clock.fileno(), f"{self._seconds():.3f}\n".encode(), 0)
                    if self._seconds() - recorded >= _RECORD_SECONDS:
                        recorded = self._seconds()
                        self._write(self._now())


class AttemptProgress:
    """Progress for the ledger, the console and the watcher of the stage's folder."""

    def __init__(self, stopwatch: Stopwatch, show: Progress, watch: Callable[[], None]) -> None:
        self._stopwatch, self._show, self._watch = stopwatch, show, watch

    def __call__(self, done: int, total: int, unit: str, **metrics: float) -> None:
        if unit != "step":
            self._stopwatch.progress(done, total, unit)
            self._watch()
        self._show(done, total, unit, **metrics)


def open_attempt(folder: Path) -> Attempt | None:
    """Return the attempt whose record is in `folder`: still running, or killed before recording.

    Raises ArtifactError if the record is damaged.
    """
    path = folder / RECORD
    try:
        attempt = Attempt.from_json(path.read_bytes())
        return replace(attempt, seconds=max(attempt.seconds, _read_clock(folder)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not an attempt record ({error})") from error


def record_attempt(ledger: Ledger, folder: Path) -> None:
    """Move the attempt whose record is in `folder`, if there is one, to the ledger.

    Safe to call again, from another process too: an attempt never gets two lines.
    """
    attempt = open_attempt(folder)
    if attempt is not None:
        ledger.append(attempt)
        (folder / RECORD).unlink(missing_ok=True)


def record_killed_attempt(ledger: Ledger, folder: Path) -> None:
    """Add the record that a killed process left in a workspace, which the caller has locked.

    A record marked done is added as killed, since its artifact was not published.
    """
    attempt = open_attempt(folder)
    if attempt is not None:
        outcome = "killed" if attempt.outcome == "done" else attempt.outcome
        ledger.append(replace(attempt, outcome=outcome))
        (folder / RECORD).unlink(missing_ok=True)


def _read_clock(folder: Path) -> float:
    try:
        return float((folder / _CLOCK).read_bytes())
    except (OSError, ValueError):
        return 0.0


def waited(schedule: Path) -> float:
    """Return the seconds for which a thread was ready to run and had no processor, by its file of
    Linux; 0 where the system does not count them."""
    try:
        return int(schedule.read_text().split()[1]) * 1e-9
    except (OSError, IndexError, ValueError):
        return 0.0


def peak_memory(kind: str) -> int:
    """Return the peak bytes allocated on the GPU in this attempt, or resident in this process."""
    if kind == "gpu":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
