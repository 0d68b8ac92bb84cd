"""Starts worker processes that decode images, from a server that has imported what they need."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, TypeVar

from classification.errors import WorkError

Result = TypeVar("Result")


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


def call_in_processes(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]
) -> Iterator[Result]:
    """Call a module's `function` with each of the arguments, every call in a new process, all at
    once; yield the results in order.

    Unlike a process of `multiprocessing`, such a process does not import the program's main module,
    which may not expect it. Raises WorkError if a process dies.
    """
    code = f"from {__name__} import answer; answer()"
    environment = os.environ | _import_path()

    def call(arguments: tuple[Any, ...]) -> Result:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL),
            stdout=subprocess.PIPE,
            env=environment,
        )
        if done.returncode:
            raise WorkError(
                f"a process that decodes images ended with status {done.returncode}; is there "
                "enough memory? Run the same command to try again"
            )
        result: Result = pickle.loads(done.stdout)  # from our own process
        return result

    with ThreadPoolExecutor(len(calls)) as pool:
        yield from pool.map(call, calls)


def answer() -> None:
    """Do what `call_in_processes` asks for on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    function, arguments = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(function(*arguments), pickle.HIGHEST_PROTOCOL))


def _start_forkserver() -> None:
    """Start the process that workers are forked from, with this checkout first on its path.

    Else it would look in the working directory first, where another `classification` may be.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ |= _import_path()
    forkserver.ensure_running()
    for name, value in before.items():
        os.environ.pop(name)
        os.environ |= {} if value is None else {name: value}


def _import_path() -> dict[str, str]:
    path = filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
