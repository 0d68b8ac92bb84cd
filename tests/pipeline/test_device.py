import platform
import resource

import pytest

from pipeline.device import keep_freed_memory


def _page_faults() -> int:
    """Of filling and freeing 48 MiB five times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    pages = (48 << 20) // resource.getpagesize()
    assert keep_freed_memory()
    _page_faults()  # the first block still comes from the kernel
    assert _page_faults() < pages / 10
