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
# glibc's names, from its malloc.h: what is kept at the heap's end, and what is mapped by itself.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger blocks still go back at once: in a heap that is never trimmed they would leave holes too
# small for one another, and PyramidNet's scoring would grow to 23 GB.
_KEPT_BYTES, _MAPPED_BYTES = 2**31 - 1, 64 * 2**20


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is any, else the CPU. Raises DeviceError for what is not there."""
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
    """Which unit its hours are counted in."""
    return "gpu" if device.type == "cuda" else "cpu"


def device_name(device: torch.device) -> str:
    """The model as its maker calls it; for a CPU with the number of threads torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_model()}, {torch.get_num_threads()} threads"


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next step; False where there is no glibc to ask.

    As it comes, it gives every large tensor back to the kernel and gets it again, page by page, a
    step later: a quarter of the time of a PyramidNet-110 training step on a CPU.
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
    """`torch 2.12.1, code 1a2b3c4`: of the code its commit, `-dirty` if files differ from it."""
    code = _commit()
    return f"torch {torch.__version__}" + (f", code {code}" if code else "")


def _commit() -> str:
    """Of the repository that this file lies in; nothing if there is none, or no git."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
