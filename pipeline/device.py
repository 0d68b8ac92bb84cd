"""The device of a run, its name and memory, and the versions of the software."""

import ctypes
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from classification.errors import DeviceError

CHOICES = ("auto", "cpu", "cuda")
# M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger blocks are still mapped separately: in a heap that is never trimmed they fragment it, and
# PyramidNet's scoring would grow to 23 GB.
_KEPT_BYTES, _MAPPED_BYTES = 2**31 - 1, 64 * 2**20


def resolve_device(name: str) -> torch.device:
    """Resolve `auto` to CUDA if available, else to CPU. Raises DeviceError for a missing device."""
    kind, _, index = name.partition(":")
    if kind not in CHOICES or (index and not (kind == "cuda" and index.isdigit())):
        raise DeviceError(f"--device: found {name!r}; allowed: {', '.join(CHOICES)}, cuda:N")
    available = torch.cuda.is_available()
    if kind == "cpu" or (kind == "auto" and not available):
        return torch.device("cpu")
    if not available:
        raise DeviceError(f"--device: found {name!r}, but torch sees no CUDA device; allowed: cpu")
    if int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device: found {name!r}; allowed: cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return torch.device("cuda", int(index or 0))


def device_kind(device: torch.device) -> Literal["cpu", "gpu"]:
    """Return the kind of hours in which the cost is counted."""
    return "gpu" if device.type == "cuda" else "cpu"


def device_name(device: torch.device) -> str:
    """Return the vendor's model name; for a CPU also torch's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_cpu_model()}, {threads} thread{'' if threads == 1 else 's'}"


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step; False without glibc.

    By default glibc returns every large tensor to the kernel and maps it again in the next step: a
    quarter of the time of a PyramidNet-110 training step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = ((_M_MMAP_THRESHOLD, _MAPPED_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES))
    accepted = [mallopt(name, value) for name, value in settings]
    return accepted == [1, 1]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or f"{platform.machine()}, {os.cpu_count()} cores"


_ROOT = Path(__file__).parents[1]
_PATIENCE = 10  # seconds, for a repository on a slow network


@cache
def software() -> str:
    """Return `torch 2.12.1, code 1a2b3c4`: the commit, with `-dirty` if files differ from it."""
    code = _commit()
    return f"torch {torch.__version__}" + (f", code {code}" if code else "")


def _commit() -> str:
    """Return the commit of this repository; empty without a repository or git."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
