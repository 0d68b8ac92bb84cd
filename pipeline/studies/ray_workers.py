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

_RESTARTS = 3  # of one stage, whose nodes die under it
_PATIENCE_SECONDS = 30.0  # for a stage that was asked to stop to write down what it has
_FORCE_SECONDS = 5.0


class RayWorkers:
    """Makes tasks on the Ray that this process has joined, `jobs` at once.

    Without `jobs` as many as the living nodes hold. More than they hold wait in Ray's queue.
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
        """Whether another task can begin; with none at work one always can."""
        room = self._share.rooms(ray.nodes()) if self._jobs is None else self._jobs
        return len(self._busy) < max(room, 1)

    @property
    def busy(self) -> bool:
        return bool(self._busy)

    @property
    def at_work(self) -> set[StageKey]:
        return {task.key for task in self._busy.values()}

    def begin(self, task: Task) -> None:
        """Hand a task to Ray, which starts it on a node that has its share free."""
        share = self._share
        work = self._work.options(
            num_cpus=share.cpus, num_gpus=share.gpus, name=f"{task.stage} {task.fingerprint}"
        )
        ref = work.remote(str(ROOT), str(Path.cwd()), pickle.dumps((task, *self._start)))
        self._busy[ref] = task

    def next(self) -> tuple[Task, str | None]:
        """Wait for a task to end: the task and what went wrong.

        One whose node died is begun again, three times at most; it goes on from its checkpoint.
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
                f"{task.stage:8} {error}; begins again ({count} of {_RESTARTS})  {task.fingerprint}"
            )
            self.begin(task)

    def stop(self) -> None:
        """Ask all to stop, as Ctrl-C would, and wait until they have written what they have."""
        for ref in self._busy:
            ray.cancel(ref)
        left = _wait(list(self._busy), _PATIENCE_SECONDS)
        for ref in left:
            ray.cancel(ref, force=True)
        _wait(left, _FORCE_SECONDS)
        self._busy.clear()


def _wait(refs: list[Any], seconds: float) -> list[Any]:
    """Those that have not ended after so long."""
    return ray.wait(refs, num_returns=len(refs), timeout=seconds)[1] if refs else []


def _ending(ref: Any) -> tuple[str | None, bool]:
    """What went wrong with a task, and whether its node has outlived it."""
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
        cause = getattr(error, "cause", None) or error  # an error of the task's own, as it was
        return f"{type(cause).__name__}: {in_a_line(cause)}", True


def _remote() -> Any:
    """`ray_task.work` as a Ray task that finds the repository by itself.

    It travels by value, as what is defined inside a function does, and imports inside: where Ray
    imports for us, a node that lacks the repository dies without saying why.
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
    """Make a task. Returns what went wrong, in a line, or None; STOPPED if its node is to go."""
    before = signal.signal(signal.SIGTERM, _stop)  # what a node gets before it is taken away
    try:
        _end_with_the_node()
        torch.set_num_threads(num_threads)
        keep_freed_memory()
        # What goes on inside a stage goes to the log alone: lines of several would mix.
        with Path(os.devnull).open("w") as nowhere:
            return make(task, device, artifacts, Console(nowhere, log_file))
    except (KeyboardInterrupt, InterruptedRunError):
        return STOPPED
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_the_node() -> None:
    """Die when Ray's own process on this node does; elsewhere than on Linux Ray sees to it.

    Ray waits for process 1 to become its parent, which under a subreaper (systemd's, a container's)
    never comes: the stage would go on, and its process stay behind.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
