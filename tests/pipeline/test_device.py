import platform
import subprocess
import sys

import pytest

# Page faults of filling and freeing 48 MiB five times. In a process without threads, as glibc keeps
# a heap for each thread and returns those of other threads whatever the setting.
_FAULTS = """
import resource
from pipeline.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults()
assert keep_freed_memory()
faults()  # the first block still comes from the kernel
print(default, faults(), (48 << 20) // resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_memory_is_used_again_without_asking_the_kernel():
    child = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    default, kept, pages = map(int, child.stdout.split())
    assert default > 4 * pages  # so that the setting is what makes the difference
    assert kept < pages / 10
