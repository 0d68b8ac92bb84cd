"""Compilation of modules by torch.compile for CUDA: what it needs, its cache, the time it takes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from classification.acceleration import spell_out
from classification.errors import ConfigError
from classification.progress import Spent

if TYPE_CHECKING:
    import torch
    from torch import nn

CompileMode = Annotated[Literal["off", "on"], BeforeValidator(spell_out)]

CACHE = ".compiled"
"""The folder of compiled kernels in a store; its name hides it from lists of artifacts."""
MOST_BYTES = 2 << 30  # of a store's kernels
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_COMPILERS = ("cc", "gcc", "clang")
_SHAPES = 8  # of one module: complete and last batches, training and evaluation


def check_compilation(stage: str, mode: CompileMode, device: torch.device) -> None:
    """Raise ConfigError, naming the key, if `mode` is on and cannot be used on `device`."""
    if mode == "off":
        return
    found = f"{stage}.compile: found 'on'"
    if device.type != "cuda":
        raise ConfigError(f"{found} on a {device.type}; allowed there: off")
    if importlib.util.find_spec("triton") is None:
        raise ConfigError(f"{found}, but triton is not installed; allowed without it: off")
    wanted = os.environ.get("CC")
    if wanted and not shutil.which(wanted):
        raise ConfigError(
            f"{found}, but CC names a C compiler that is not found, {wanted!r}; allowed: off, or "
            "another CC"
        )
    if not wanted and not any(map(shutil.which, _COMPILERS)):
        raise ConfigError(
            f"{found}, but there is no C compiler (CC, or one of {', '.join(_COMPILERS)}); allowed "
            "without it: off"
        )


def keep_compiled_in(root: Path) -> None:
    """Keep what this process compiles in the store at `root`, unless the user chose a folder.

    Kernels beyond MOST_BYTES are removed, the least recently used first; inductor compiles again
    what it misses.
    """
    folder = str(root.resolve() / CACHE)
    if os.environ.setdefault(_CACHE_VARIABLE, folder) == folder:
        _make_room(Path(folder))


def _make_room(folder: Path) -> None:
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed by another process
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode):
                found.append((max(state.st_atime, state.st_mtime), state.st_size, path))
    excess = sum(size for _, size, _ in found) - MOST_BYTES
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        excess -= size


def compile_modules(modules: Iterable[nn.Module], spent: Spent, backend: str = "inductor") -> None:
    """Compile each module when it is first called; its parameters and their names stay the same.

    `spent` gets the seconds of all compilation, backward passes included, as "compilation".
    """
    import torch
    import torch._dynamo.callback  # slow to import; torch.compile is the only user of the time

    modules = list(modules)
    limit = torch._dynamo.config
    # Modules of one class share their code, and each has its own shapes.
    limit.recompile_limit = max(limit.recompile_limit, _SHAPES * len(modules))
    clock = _Clock(spent)
    torch._dynamo.callback.on_compile_start(clock.start)
    torch._dynamo.callback.on_compile_end(clock.end)
    for module in modules:
        module.compile(backend=backend, dynamic=False)


class _Clock:
    def __init__(self, spent: Spent) -> None:
        self._spent, self._begun = spent, 0.0

    def start(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def end(self, *_: Any) -> None:
        self._spent("compilation", time.perf_counter() - self._begun)
