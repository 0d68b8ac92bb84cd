"""Starts worker processes that decode images, from a server that has imported what they need."""

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path


def worker_context(module: str) -> ForkServerContext:
    """The context of a DataLoader whose workers use `module`.

    A forked child inherits the locks of threads it does not have, and may wait forever; so the
    children are forked from a server without threads.
    """
    context = multiprocessing.get_context("forkserver")
    # Imported once, before any of its children: they start sooner and share its memory.
    context.set_forkserver_preload([module])
    _start_forkserver()
    return context


def _start_forkserver() -> None:
    """Start the process that workers are forked from, with this checkout first on its path.

    Else it would look in the working directory first, where another `classification` may be.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    path = filter(None, [str(Path(__file__).parents[2]), before["PYTHONPATH"]])
    os.environ |= {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    forkserver.ensure_running()
    for name, value in before.items():
        os.environ.pop(name)
        os.environ |= {} if value is None else {name: value}
