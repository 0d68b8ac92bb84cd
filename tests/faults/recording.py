"""What happens in a killed process, told from outside of the product: which stage was being made,
which attempt had begun, which checkpoint was put in place, each with its time."""

import functools
import json
import os
import sys
import time
from pathlib import Path

_write, _events = os.write, None


def record(path: Path) -> None:
    """From here on note the events of this process in `path`, a line each, in one write."""
    global _events
    from pipeline.runner import Runner
    from pipeline.store.stopwatch import Stopwatch

    _events = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    make, begin = Runner._make, Stopwatch.__init__

    @functools.wraps(make)
    def noted_make(self, name, *arguments, **options):
        note("make", stage=name)
        artifact = make(self, name, *arguments, **options)
        note("made", stage=name)
        return artifact

    @functools.wraps(begin)
    def noted_begin(self, ledger, folder, attempt, *arguments):
        begin(self, ledger, folder, attempt, *arguments)
        note("attempt", stage=attempt.stage)

    Runner._make, Stopwatch.__init__ = noted_make, noted_begin
    sys.addaudithook(_note_checkpoints)


def note(what: str, **values: object) -> None:
    """One event, now."""
    event = {"what": what, "time": time.monotonic(), "process": os.getpid()} | values
    _write(_events, (json.dumps(event) + "\n").encode())


def _note_checkpoints(event: str, arguments: tuple) -> None:
    if event == "os.rename" and Path(os.fsdecode(arguments[1])).name.startswith("checkpoint-"):
        path = Path(os.fsdecode(arguments[1]))
        note("checkpoint", stage=path.parent.parent.name, name=path.name)
