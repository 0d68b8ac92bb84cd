"""Kills the process it is installed in at a chosen change of a folder, so that every moment between
two changes on disk can be visited. The product knows nothing of it: Python tells an audit hook of
every file that is opened, renamed or removed before it is done."""

import os
import signal
import stat
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.faults.recording import note

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_PATHS = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}
_write, _fsync = os.write, os.fsync


@dataclass(frozen=True)
class Place:
    """The `number`-th change, counted from 1; 0 counts them all and kills nothing.

    A `torn` one is the writing of a file that is flushed: half of it is there at the kill.
    """

    number: int
    torn: bool = False


def install(place: Place, folder: Path) -> None:
    """Kill this process at `place`; changes by its main thread under `folder` count.

    The stopwatch's thread changes files at moments that differ from run to run.
    """
    counter = _Counter(place, folder)
    if place.torn:
        os.write, os.fsync = counter.write, counter.fsync
    else:
        sys.addaudithook(counter.heed)


class _Counter:
    def __init__(self, place: Place, folder: Path) -> None:
        self._place, self._folder, self._count = place, str(folder), 0

    def heed(self, event: str, arguments: tuple) -> None:
        if event not in _PATHS:
            return
        path = arguments[_PATHS[event]]
        if event == "open" and not (arguments[2] & _WRITING):
            return
        if isinstance(path, int) or threading.current_thread() is not threading.main_thread():
            return
        name = os.fsdecode(path)
        if self._changes_nothing(event, Path(name)):
            return
        in_a_tree = event in ("os.remove", "os.rmdir") and arguments[-1] not in (None, -1)
        if (in_a_tree or name.startswith(self._folder)) and self._is_reached(event, name):
            os.kill(os.getpid(), signal.SIGKILL)

    def _changes_nothing(self, event: str, path: Path) -> bool:
        """Folders and locks that are there already; and the log, whose lines go by the clock."""
        there = event == "os.mkdir" or path.name.startswith(".lock-")
        return path.name == "log.txt" or (there and path.exists())

    def write(self, descriptor: int, data: bytes) -> int:
        if self._counts(descriptor) and self._is_reached("write", self._path(descriptor)):
            _write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return _write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        # A temporary file is written at once and then flushed: half of it is what a kill leaves.
        path = self._path(descriptor)
        if path.endswith(".tmp") and self._counts(descriptor) and self._is_reached("write", path):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        _fsync(descriptor)

    def _counts(self, descriptor: int) -> bool:
        return (
            stat.S_ISREG(os.fstat(descriptor).st_mode)
            and threading.current_thread() is threading.main_thread()
            and self._path(descriptor).startswith(self._folder)
        )

    def _path(self, descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    def _is_reached(self, event: str, name: str) -> bool:
        self._count += 1
        if not self._place.number:
            note("point", event=event, path=name.removeprefix(self._folder))
        return self._count == self._place.number
