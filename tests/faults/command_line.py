"""The command line in a process that can be killed: `main` in a child of a preloaded parent.

To import torch takes seconds, so multiprocessing's fork server does so once and forks a child for
each start. That is as real as a start of its own. The fork server has imported modules and done
nothing else, and importing ours does nothing, so no thread, lock, open file or random state of the
pipeline's is there to be inherited. The child runs `main` in its main thread on the arguments of a
command line, with Python's own signal handlers, and the kernel ends it as it ends any process.
`tests/test_cli.py` kills processes that started from nothing.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from tests.faults.kill_points import Place, install
from tests.faults.recording import note, record
from tests.preloaded import start_process


class CommandLine:
    """`run_pipeline.py run CONFIG …` on a store and runs of its own, started repeatedly."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder, self.config = folder, config
        self.artifacts, self.runs = folder / "artifacts", folder / "runs"
        self.events = folder / "events.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *arguments: str, place: Place | None = None) -> "Process":
        """Start it, to be killed at `place` if one is given."""
        places = ["--artifacts", str(self.artifacts), "--runs", str(self.runs), "--device", "cpu"]
        command = ["run", str(self.config), *places, *arguments]
        return Process(start_process(_child, command, self.folder, place))

    def finish(self, *arguments: str) -> None:
        """Start it and let it end."""
        assert self.start(*arguments).wait() == 0, (self.folder / "output.txt").read_text()

    def happened(self, what: str | None = None) -> list[dict]:
        """What was recorded in all processes so far, or of one kind."""
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        events = [json.loads(line) for line in lines]
        return [event for event in events if what in (None, event["what"])]


class Process:
    """One start."""

    def __init__(self, child) -> None:
        self._child = child
        self.id: int = child.pid

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit status, negative if a signal ended it; None if it goes on after `seconds`."""
        self._child.join(seconds)
        return self._child.exitcode

    def stop(self, signum: int) -> int:
        """Send a signal and wait for the end."""
        os.kill(self.id, signum)
        return self.wait()


def _child(command: list[str], folder: Path, place: Place | None) -> None:
    assert "pipeline.stages" in sys.modules  # or else preloading has failed and all takes hours
    torch.set_num_threads(1)  # threads wait for one another where other work takes their cores
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from run_pipeline import main

    record(folder / "events.jsonl")
    if place is not None:
        install(place, folder)
    note("main", process=os.getpid())
    status = main(command)
    note("end", status=status)
    sys.stdout.flush()
    os._exit(status)
