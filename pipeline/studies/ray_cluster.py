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
_JOIN_SECONDS = 20.0  # for Ray to answer behind it; Ray itself would go on asking for 80 s
_STORE_BYTES = 80 * 2**20  # of Ray's object store, which nothing is put into; its least is 75 MiB
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns that it will become the default
    # Ray would kill stages once all programs of a machine fill 95 % of its memory, ours or not.
    "RAY_memory_monitor_refresh_ms": "0",
}
# Tried in a process of its own first: before a stranger's port Ray hangs, or ends its process.
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
    """What of a node one stage holds, and how many threads torch gets there."""

    cpus: int
    gpus: int
    threads: int

    def rooms(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """How many stages the living nodes, as `ray.nodes()` describes them, hold at once."""
        return sum(
            int(min(cpus // self.cpus, gpus // self.gpus if self.gpus else cpus))
            for cpus, gpus in map(_resources, nodes)
        )


def check_ray(option: str, address: str | None) -> None:
    """Refuse at once what would fail or hang later. Takes seconds where `address` is not None.

    Raises ConfigError, naming `option`, if Ray is not installed, or no Ray of ours is at `address`.
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
            f"--ray: found {found!r}, where something listens that does not answer as Ray does; "
            "allowed: a running cluster"
        ) from None
    if tried.returncode:
        said = " ".join(tried.stdout.split()) or "Ray gave no reason"
        raise ConfigError(f"--ray: found {found!r}, which cannot be joined: {said}")


@contextmanager
def connected(address: str | None, jobs: int) -> Iterator[None]:
    """Ray in this process: the cluster at `address`, or one started here for `jobs` stages.

    What was started ends with the block. The caller's handler of SIGTERM stays.
    """
    import ray  # takes a second, and is not there for everyone

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
            f"--ray: found {address!r}, which cannot be joined: {' '.join(str(error).split())}"
            if address
            else f"--jobs: Ray could not be started here: {' '.join(str(error).split())}"
        ) from error
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
    # A private name: log_to_driver=False does not keep Ray from printing the last lines of a dead
    # node's log, and no public setting does. Ray's own debugger (util/rpdb.py) sets the same.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()


def share_of(nodes: Sequence[Mapping[str, Any]], on_gpu: bool, threads: int) -> Share:
    """What a stage gets of a cluster: a GPU and its part of the CPUs, or CPUs for `threads`.

    No more than a node that can hold it has: what no node holds would wait for ever. Raises
    DeviceError, naming --device, if no node has what it takes.
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
    """A node's CPUs and GPUs; none if it is dead."""
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
            f"--ray: found {address!r}, where nothing answers ({error.strerror or error}); "
            "allowed: the address that `ray start --head` printed"
        ) from error


def _be_quiet() -> None:
    """Ray reads these when it starts; what the person set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
