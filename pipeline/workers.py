"""Processes that make stages side by side, so that one that dies takes only its own down."""

import signal
import sys
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from classification.datasets import DataConfig, ImageDataset, load_dataset
from classification.errors import PipelineError
from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.device import keep_freed_memory
from pipeline.inputs import load_datasets
from pipeline.runner import InterruptedRunError, Runner, Selection
from pipeline.stages import STAGES
from pipeline.store import Store
from pipeline.tasks import Task

_PATIENCE_SECONDS = 30.0  # for a worker that was asked to stop to write down what it has


@cache
def load_once(config: DataConfig, key: str) -> ImageDataset:
    """The images of a config, read once a process: cells of a study share them."""
    return load_dataset(config, key)


def datasets_of(config: PipelineConfig) -> dict[str, ImageDataset]:
    """What a cell's stages read."""
    return load_datasets(config, load_once)


def make(task: Task, device: str, artifacts: Path, console: Console) -> str | None:
    """Make a task's stage. Returns what went wrong, in a line, or None.

    Raises InterruptedRunError when the person stops it; anything else ends this task alone.
    """
    runner = Runner(
        STAGES,
        task.config,
        datasets_of(task.config),
        Store(artifacts),
        torch.device(device),
        console,
    )
    try:
        runner.run(Selection(only=task.stage))
    except InterruptedRunError:
        raise
    except PipelineError as error:
        return " ".join(str(error).split())
    except Exception as error:  # a bug, or a device that failed, must not end the other cells
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


class Workers:
    """`jobs` processes, each of which makes one task at a time."""

    def __init__(self, jobs: int, device: str, artifacts: Path, log: Path | None) -> None:
        self._start = (device, artifacts, log, max(1, torch.get_num_threads() // jobs))
        self._busy: dict[int, Task] = {}
        self.processes: list[Any] = [None] * jobs
        self._pipes: list[Connection | None] = [None] * jobs

    @property
    def has_room(self) -> bool:
        """Whether a process waits for work."""
        return len(self._busy) < len(self.processes)

    @property
    def busy(self) -> bool:
        """Whether a process is at work."""
        return bool(self._busy)

    @property
    def at_work(self) -> set[tuple[str, str]]:
        """The keys of the tasks that are being made."""
        return {task.key for task in self._busy.values()}

    def begin(self, task: Task) -> None:
        """Hand a task to a process that waits, started if it has to be."""
        slot = next(i for i in range(len(self.processes)) if i not in self._busy)
        if self.processes[slot] is None:
            self._spawn(slot)
        pipe = self._pipes[slot]
        assert pipe is not None
        pipe.send(task)
        self._busy[slot] = task

    def next(self) -> tuple[Task, str | None]:
        """Wait for a task to end: the task and what went wrong."""
        pipes = {self._pipes[slot]: slot for slot in self._busy}
        pipe = wait([p for p in pipes if p is not None])[0]
        assert isinstance(pipe, Connection)
        slot = pipes[pipe]
        task = self._busy.pop(slot)
        try:
            return task, pipe.recv()
        except (EOFError, OSError):
            process = self.processes[slot]
            process.join()
            self.processes[slot] = None
            return task, f"its process died (exit status {process.exitcode})"

    def stop(self) -> None:
        """Ask all to stop, as Ctrl-C would, and wait until they have written what they have."""
        for process in filter(None, self.processes):
            process.terminate()
        for process in filter(None, self.processes):
            process.join(_PATIENCE_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def _spawn(self, slot: int) -> None:
        context = get_context("spawn")  # CUDA does not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, *self._start), daemon=True)
        process.start()
        theirs.close()  # so that its death is seen as the end of the pipe
        self.processes[slot], self._pipes[slot] = process, ours


def _work(
    pipe: Connection, device: str, artifacts: Path, log: Path | None, num_threads: int
) -> None:
    """A process's life: tasks in, what went wrong out, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; ours comes as SIGTERM
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(num_threads)
    keep_freed_memory()
    # What goes on inside a stage goes to the log alone: lines of several would mix.
    with Path("/dev/null").open("w") as nowhere:
        console = Console(nowhere, log)
        try:
            while True:
                pipe.send(make(pipe.recv(), device, artifacts, console))
        except (EOFError, KeyboardInterrupt, InterruptedRunError):
            sys.exit(0)


def _stop(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
