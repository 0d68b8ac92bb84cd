"""Handling of Ctrl-C, SIGTERM and a closed terminal, and sections in which they wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_as_for_ctrl_c() -> None:
    """Have SIGTERM, which a cluster sends before it takes the machine, and SIGHUP, which a terminal
    sends when it closes, stop the work as Ctrl-C does. Under nohup SIGHUP stays without effect."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop)


@contextmanager
def deferred() -> Iterator[None]:
    """Signals that arrive in the block act when it ends: what it does is done whole or not begun.

    Outside the main thread, which alone is told of signals, nothing has to wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        arrived.append(signum)

    handlers = {each: signal.signal(each, note) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            # None stands for one that was not set from Python and cannot be set again from here.
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
        for signum in dict.fromkeys(arrived):
            signal.raise_signal(signum)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
