"""A clock for timings on a machine that other programs use too."""

import time
from pathlib import Path

from pipeline.store import stopwatch

_SCHEDULE = Path("/proc/thread-self/schedstat")  # Linux: ns on a processor, ns waiting for one, …


def waited() -> float:
    """Return the seconds for which this thread was ready to run and had no processor; 0 where the
    system does not count them."""
    return stopwatch.waited(_SCHEDULE)


def idle_clock() -> float:
    """Return wall-clock seconds without those of `waited`.

    Two timings of a step by the wall clock differ with the load of the machine, those by this clock
    less. Only the waiting of the calling thread is left out: with several threads, others can wait
    too.
    """
    return time.perf_counter() - waited()
