"""The Ray cluster of a sweep: one started for it, or a running one that it joins."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classification.errors import ConfigError, DeviceError
from classification.extras import require

ROOT = Path(__file__).resolve().parents[2]  # the repository, on every node's search path
_ADDRESS = re.compile(r"(?:ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")
_KNOCK_SECONDS = 5.0  # for a port to open
_JOIN_SECONDS = 20.0  # for Ray to answer on it; Ray itself would retry for 80 s
_STORE_BYTES = 80 * 2**20  # of Ray's object store, which stays empty; the minimum is 75 MiB
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns that it will become the default
    # Ray would kill stages once the machine's programs, ours or not, use 95 % of its memory.
    "RAY_memory_monitor_refresh_ms": "0",
}
# Tried in a separate process first: on a port that is not Ray's, Ray hangs or exits.
_JOIN = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except BaseException as error:
    print(" ".join(str(error).split()))
    sys.stdout.flush()
    import os
    os._exit(1)
"""


@dataclass(frozen=True)
class Share:
    """The CPUs and GPUs of a node that one stage holds, and its number of torch threads."""

    cpus: int
    gpus: int
    threads: int

    def rooms(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """Return how many stages the live nodes of `ray.nodes()` can run at once."""
        return sum(
            int(min(cpus // self.cpus, gpus // self.gpus if self.gpus else cpus))
            for cpus, gpus in map(_resources, nodes)
        )


def check_ray(option: str, address: str | None) -> None:
    """Check that Ray is installed and, unless `address` is None, that it can be joined there.

    Joining takes seconds. Raises ConfigError, naming the option, if a check fails.
    """
    require(option, "distributed", "ray")
    if address is None:
        return
    found = address
    if address == "auto":  # Ray's own rule
        found = os.environ.get("RAY_ADDRESS", "auto")
    if found != "auto":
        _knock(found)
    if found.startswith("ray://"):
        require(f"{option} {found}", "distributed", "grpcio")
    _be_quiet()
    command = [sys.executable, "-c", _JOIN, found]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, timeout=_JOIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"--ray: no Ray cluster answers at {found!r}; use the address of a running cluster"
        ) from None
    if tried.returncode:
        reason = " ".join(tried.stdout.split()) or "Ray gave no reason"
        raise ConfigError(f"--ray: cannot join {found!r}: {reason}")


@contextmanager
def connected(address: str | None, jobs: int) -> Iterator[None]:
    """Connect this process to the cluster at `address`, or to one started for `jobs` stages.

    Disconnects, and stops a cluster started here, at the end. Keeps the caller's SIGTERM handler.
    """
    import ray  # optional, and slow to import

    _be_quiet()
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": jobs,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **options,
        )
    except (RuntimeError, ConnectionError, ValueError) as error:
        raise ConfigError(
            f"--ray: cannot join {address!r}: {' '.join(str(error).split())}"
            if address
            else f"--jobs: Ray could not be started here: {' '.join(str(error).split())}"
        ) from error
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
    # A private name: no public setting, log_to_driver=False included, keeps Ray from printing the
    # last lines of a dead node's log. Ray's own debugger (util/rpdb.py) sets the same.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()


def share_of(nodes: Sequence[Mapping[str, Any]], on_gpu: bool, threads: int) -> Share:
    """Return a stage's share of a cluster: a GPU and its part of the CPUs, or `threads` CPUs.

    The share fits on a node: one that fits on none would wait for ever. Raises DeviceError, naming
    --device, if no node has a GPU or CPU for it.
    """
    fitting = [(cpus, gpus) for cpus, gpus in map(_resources, nodes) if gpus or not on_gpu]
    largest = max((cpus // gpus if on_gpu else cpus for cpus, gpus in fitting), default=0)
    if largest < 1:
        found, missing = ("cuda", "GPU") if on_gpu else ("cpu", "CPU")
        raise DeviceError(
            f"--device: found {found!r}, but no node of the Ray cluster has a free {missing}"
        )
    cpus = int(min(largest, threads))
    return Share(cpus, int(on_gpu), cpus)


def _resources(node: Mapping[str, Any]) -> tuple[float, float]:
    """Return a node's CPUs and GPUs; zeros if it is dead."""
    has = node["Resources"] if node["Alive"] else {}
    return has.get("CPU", 0.0), has.get("GPU", 0.0)


def _knock(address: str) -> None:
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(f"--ray: found {address!r}; allowed: HOST:PORT, ray://HOST:PORT or auto")
    try:
        host = match["host"].strip("[]")
        socket.create_connection((host, int(match["port"])), _KNOCK_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"--ray: nothing answers at {address!r} ({error.strerror or error}); use the address "
            "that `ray start --head` printed"
        ) from error


def _be_quiet() -> None:
    """Set the variables that Ray reads when it starts, except those that the user has set."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
