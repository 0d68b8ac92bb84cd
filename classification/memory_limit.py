"""A bound on the memory that a library may ask for while it reads a file from elsewhere.

Readers that run no code can still be made to allocate without end: by declared sizes, by compressed
zeros, by values that grow as they are put together.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/statm")  # where there is none, as on macOS, nothing is bounded


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[None]:
    """Let this process's address space grow by `num_bytes` at most.

    What asks for more fails: with MemoryError, or as the library words it. Counts for all threads.
    """
    if not _STATUS.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(_STATUS.read_text().split()[0]) * resource.getpagesize()
    bounds = [used + num_bytes, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
