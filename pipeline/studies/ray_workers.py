"""Stages as Ray tasks: several at once, on one machine or many; failures stay separate."""

import contextlib
import ctypes
import os
import pickle
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    TaskCancelledError,
    WorkerCrashedError,
)

from classification.errors import InterruptedRunError
from pipeline.console import Console
from pipeline.device import keep_freed_memory
from pipeline.studies.ray_cluster import ROOT, Share
from pipeline.studies.tasks import StageKey, Task, in_a_line, make

_RESTARTS = 3  # of one stage, after its node died
_PATIENCE_SECONDS = 30.0  # for a cancelled stage to write its checkpoint
_FORCE_SECONDS = 5.0


class RayWorkers:
    """Makes tasks on the Ray cluster that this process has joined, `jobs` at a time.

    Without `jobs`, as many as the live nodes can run. Further tasks wait in Ray's queue.
    """

    def __init__(
        self, jobs: int | None, share: Share, device: str, artifacts: Path, console: Console
    ) -> None:
        self._jobs, self._share, self._console = jobs, share, console
        log_file = console.log_file.absolute() if console.log_file else None
        self._start = (device, artifacts.absolute(), log_file, share.threads)
        self._work = _remote()
        self._busy: dict[Any, Task] = {}
        self._deaths: Counter[StageKey] = Counter()

    @property
    def has_room(self) -> bool:
        """Whether another task can start; always if none is running."""
        room = self._share.rooms(ray.nodes()) if self._jobs is None else self._jobs
        return len(self._busy) < max(room, 1)

    @property
    def busy(self) -> bool:
        return bool(self._busy)

    @property
    def at_work(self) -> set[StageKey]:
        return {task.key for task in self._busy.values()}

    def workers(self, key: StageKey) -> int:
        """Return the number of processes that make this task, or help with it."""
        return sum(task.key == key for task in self._busy.values())

    def begin(self, task: Task) -> None:
        """Submit a task to Ray, which starts it on a node with enough free resources."""
        share = self._share
        work = self._work.options(
            num_cpus=share.cpus, num_gpus=share.gpus, name=f"{task.stage} {task.fingerprint}"
        )
        ref = work.remote(str(ROOT), str(Path.cwd()), pickle.dumps((task, *self._start)))
        self._busy[ref] = task

    def next(self) -> tuple[Task, str | None]:
        """Wait for a task to end; return it and its error, or None.

        A task whose node died is restarted at most three times, and resumes from its checkpoint.
        """
        while True:
            (ref, *_), _ = ray.wait(list(self._busy), num_returns=1)
            task = self._busy.pop(ref)
            error, outlived = _ending(ref)
            if outlived or error is None:
                return task, error
            self._deaths[task.key] += 1
            count = self._deaths[task.key]
            if count > _RESTARTS:
                return task, f"{error}, {count} times"
            self._console.log(
                f"{task.stage:8} {error}; restarting ({count} of {_RESTARTS})  {task.fingerprint}"
            )
            self.begin(task)

    def stop(self) -> None:
        """Interrupt all tasks, as Ctrl-C would, and wait until they have written their state."""
        for ref in self._busy:
            ray.cancel(ref)
        left = _wait(list(self._busy), _PATIENCE_SECONDS)
        for ref in left:
            ray.cancel(ref, force=True)
        _wait(left, _FORCE_SECONDS)
        self._busy.clear()


def _wait(refs: list[Any], seconds: float) -> list[Any]:
    """Return the tasks that have not ended after `seconds`."""
    return ray.wait(refs, num_returns=len(refs), timeout=seconds)[1] if refs else []


def _ending(ref: Any) -> tuple[str | None, bool]:
    """Return a task's error, or None, and whether its node is still alive."""
    try:
        error = ray.get(ref)
        return error, error != STOPPED
    except NodeDiedError:
        return "its node died", False
    except WorkerCrashedError:
        return "its process died", True
    except OutOfMemoryError:
        return "its process was killed by Ray: its node ran out of memory", True
    except TaskCancelledError:
        return "cancelled from outside", True
    except RayError as error:
        cause = getattr(error, "cause", None) or error  # the exception that the task raised
        return f"{type(cause).__name__}: {in_a_line(cause)}", True


def _remote() -> Any:
    """Return `work` as a Ray task that adds the repository to the search path itself.

    Ray pickles a nested function by value, and this one imports inside: if Ray did the import, a
    node without the repository would die without an error message.
    """

    def work(root: str, folder: str, order: bytes) -> str | None:
        import os
        import pickle
        import sys

        os.chdir(folder)  # configs name data relative to where the sweep was started
        sys.path.insert(0, root)  # before installed packages with names such as ours
        from pipeline.studies.ray_workers import work

        return work(*pickle.loads(order))

    return ray.remote(max_retries=0)(work)


STOPPED = "stopped from outside"
_PR_SET_PDEATHSIG = 1  # Linux's name, from its prctl.h


def work(
    task: Task, device: str, artifacts: Path, log_file: Path | None, num_threads: int
) -> str | None:
    """Make a task. Returns None, its error in one line, or STOPPED if its node is shut down."""
    before = signal.signal(signal.SIGTERM, _stop)  # sent to a node before it is shut down
    try:
        _end_with_the_node()
        torch.set_num_threads(num_threads)
        keep_freed_memory()
        # Progress goes to the log file only: on the console, lines of several stages would mix.
        with Path(os.devnull).open("w") as nowhere:
            return make(task, device, artifacts, Console(nowhere, log_file))
    except (KeyboardInterrupt, InterruptedRunError):
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_the_node() -> None:
    """On Linux, end this process when its parent, Ray's process on this node, ends.

    Ray itself waits for process 1 to become the parent. Under a subreaper (systemd's, a
    container's) that never happens, and the stage would keep running.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
