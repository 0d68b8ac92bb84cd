"""What some work needs in memory beyond what stands before it, measured in a fresh process."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch

Prepare = Callable[[], Callable[[], None]]  # makes what stands before the work, returns the work


def peak_memory(prepare: Prepare, device: torch.device) -> int:
    """Bytes at the peak of the work that `prepare` (picklable) returns, beyond what it made.

    On a CUDA device those of torch's allocator, on a CPU those the process holds (Linux alone).
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (prepare, device))


def _measure(prepare: Prepare, device: torch.device) -> int:
    work = prepare()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")
