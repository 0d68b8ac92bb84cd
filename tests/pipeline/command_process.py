"""The command line in processes of their own, forked from one that has imported everything."""

import io
import os
import signal
import sys
import time
from pathlib import Path

from tests.preloaded import start_process

_PATIENCE = 120  # seconds, on a busy machine


class CommandProcess:
    """`run_pipeline.py ARGUMENTS`; what it prints goes to files in `folder`, or to `output`.

    It stops itself (SIGSTOP) when it has printed `stop_at`: a signal from the test may come late.
    """

    def __init__(self, folder, *arguments, output=None, nohup=False, stop_at=None):
        number = len(list(folder.glob("*.err")))
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        self._err.touch()
        self.process = start_process(
            _run, list(arguments), output or self._out, self._err, nohup, stop_at
        )
        self._stop_at = stop_at

    @property
    def output(self):
        return self._out.read_text() if self._out.exists() else ""

    @property
    def errors(self):
        return self._err.read_text()

    def wait_for(self, text):
        """Until `text` is printed; fails if the process ends without."""
        end = time.monotonic() + _PATIENCE
        while text not in self.output:
            assert self.process.is_alive() or text in self.output, self.output + self.errors
            assert time.monotonic() < end, self.output + self.errors
            time.sleep(0.02)

    def wait_until_stopped(self):
        """Until it has printed `stop_at`, after which it does nothing more."""
        self.wait_for(self._stop_at)

    def send(self, name):
        os.kill(self.process.pid, getattr(signal, name))

    def end(self):
        """The exit status; minus its number after a signal."""
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"did not end: {self.output}{self.errors}")
        return self.process.exitcode


class _StoppingStream(io.TextIOWrapper):
    """Standard output of a process that stops itself after a text, once."""

    def __init__(self, stream, text):
        super().__init__(stream.detach(), encoding="utf-8", write_through=True)
        self._text, self._written = text, ""

    def write(self, text):
        number = super().write(text)
        self._written += text
        if self._text and self._text in self._written:
            self._text = None
            os.kill(os.getpid(), signal.SIGSTOP)
        return number


def _run(arguments, output, errors, nohup, stop_at):
    for number, path in ((1, output), (2, errors)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    if stop_at:
        sys.stdout = _StoppingStream(sys.stdout, stop_at)
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from run_pipeline import main

    sys.exit(main(arguments))
