"""Handling of Ctrl-C, SIGTERM and a closed terminal, and sections in which they wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_as_for_ctrl_c() -> None:
    """Make SIGTERM (from clusters) and SIGHUP (from a closing terminal) act like Ctrl-C.

    Under nohup SIGHUP stays ignored.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop)


@contextmanager
def deferred() -> Iterator[None]:
    """Delay signals until the block ends, so that its work is not interrupted half way.

    Does nothing outside the main thread, which alone receives signals.
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
            # None: a handler that was not set from Python and cannot be restored.
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
        for signum in dict.fromkeys(arrived):
            signal.raise_signal(signum)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
