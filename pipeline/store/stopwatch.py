"""Times an attempt at a stage, on disk, so that a SIGKILL does not lose its cost.

An attempt's record lies in the folder where the stage works and goes with it when it is published;
it is removed once the ledger has its line. Whoever finds a record whose process is gone books it.
"""

import json
import os
import resource
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch

from classification.errors import ArtifactError, StorageError
from classification.persistence.storage import write_atomically
from pipeline.store.ledger import Attempt, Ledger, Outcome

RECORD = "attempt.json"
_CLOCK = "attempt.seconds"
_RECORD_SECONDS = 0.5  # between two records, which are flushed to the disk
_CLOCK_SECONDS = 0.02  # between two readings of the clock: what a kill can hide of an attempt


class Stopwatch:
    """A running attempt.

    A thread writes the record twice a second, and in between only the seconds, in place and without
    flushing: a killed process leaves them to the system, which a power cut alone can stop. An
    attempt that began before `folder` was ready for it says by `begin` when, in monotonic seconds.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, attempt: Attempt, begin: float | None = None
    ) -> None:
        self._ledger, self._folder, self._attempt = ledger, folder, attempt
        self._begin = time.monotonic() if begin is None else begin
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        if attempt.device_kind == "gpu":
            torch.cuda.reset_peak_memory_stats()
        # Before the record, which must not be read with the seconds of the attempt before.
        (folder / _CLOCK).write_bytes(b"")
        self._write(self._now())
        self._thread.start()

    def progress(self, done: int, total: int, unit: str) -> None:
        with self._lock:
            self._attempt = replace(self._attempt, done=done, total=total, unit=unit)

    def stop(self, outcome: Outcome) -> Attempt:
        """Stop the clock and leave the record in the folder, to be booked by `book_attempt`."""
        self._stop.set()
        self._thread.join()
        attempt = replace(self._now(), outcome=outcome)
        self._write(attempt)
        return attempt

    def finish(self, outcome: Outcome) -> Attempt:
        """Stop the clock and book the attempt.

        Raises StorageError if a disk refuses that; the attempt's cost so far stays in the folder,
        from where the next one books it.
        """
        attempt = self.stop(outcome)
        record_attempt(self._ledger, self._folder)
        return attempt

    def give_up(self, outcome: Outcome) -> Attempt:
        """`finish` for work that has failed already, which a disk that refuses must not hide."""
        with suppress(StorageError):
            return self.finish(outcome)
        return replace(self._now(), outcome=outcome)

    def _now(self) -> Attempt:
        with self._lock:
            return replace(
                self._attempt,
                seconds=self._seconds(),
                peak_memory_bytes=peak_memory(self._attempt.device_kind),
            )

    def _seconds(self) -> float:
        return round(time.monotonic() - self._begin, 3)

    def _write(self, attempt: Attempt) -> None:
        write_atomically(self._folder / RECORD, json.dumps(asdict(attempt)))

    def _beat(self) -> None:
        recorded = self._seconds()
        with suppress(OSError), (self._folder / _CLOCK).open("r+b", buffering=0) as clock:
            while not self._stop.wait(_CLOCK_SECONDS):
                with suppress(OSError, StorageError):  # what was written last still stands
                    os.pwrite(clock.fileno(), f"{self._seconds():.3f}\n".encode(), 0)
                    if self._seconds() - recorded >= _RECORD_SECONDS:
                        recorded = self._seconds()
                        self._write(self._now())


def open_attempt(folder: Path) -> Attempt | None:
    """The attempt whose record is in `folder`: it runs, or its process was killed before booking.

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
    """Give the attempt whose record is in `folder` its line, if there is one, and drop the record.

    May be called again, by another process too: an attempt never has two lines.
    """
    attempt = open_attempt(folder)
    if attempt is not None:
        ledger.append(attempt)
        (folder / RECORD).unlink(missing_ok=True)


def record_killed_attempt(ledger: Ledger, folder: Path) -> None:
    """Book what a killed process left in a workspace, which the caller has locked.

    What it called done was not published, so it was killed in between.
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


def peak_memory(kind: str) -> int:
    """Peak bytes allocated on the GPU in this attempt, or resident in this process."""
    if kind == "gpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
