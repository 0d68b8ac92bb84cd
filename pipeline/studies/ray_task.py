"""A stage's life in a process of Ray's, on whatever node."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import Any

import torch

from classification.errors import InterruptedRunError
from pipeline.console import Console
from pipeline.device import keep_freed_memory
from pipeline.studies.tasks import Task
from pipeline.studies.workers import make

STOPPED = "stopped from outside"
_PR_SET_PDEATHSIG = 1  # Linux's name, from its prctl.h


def work(
    task: Task, device: str, artifacts: Path, log: Path | None, num_threads: int
) -> str | None:
    """Make a task. Returns what went wrong, in a line, or None; STOPPED if its node is to go."""
    before = signal.signal(signal.SIGTERM, _stop)  # what a node gets before it is taken away
    try:
        _end_with_the_node()
        torch.set_num_threads(num_threads)
        keep_freed_memory()
        # What goes on inside a stage goes to the log alone: lines of several would mix.
        with Path(os.devnull).open("w") as nowhere:
            return make(task, device, artifacts, Console(nowhere, log))
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
