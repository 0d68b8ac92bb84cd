"""Processes of a run under torchrun: their devices, and checks that they do the same work.

`torchrun --nproc-per-node=N run_pipeline.py run CONFIG` starts N processes per machine. All of
them must see the store.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from classification.config import SUPERNET, ClassifierConfig
from classification.errors import ConfigError, DeviceError, SharedError
from classification.world import ALONE, World
from evaluate.retrain import RetrainConfig
from pcdarts.search_config import SearchConfig
from pipeline.config import PipelineConfig, flatten
from pipeline.device import resolve_device

# The others may wait long for a stage that one process runs alone, or for a lock; a dead process
# is detected by its closed connection, not by this timeout.
_PATIENCE = timedelta(days=7)
_ARRIVAL = timedelta(minutes=10)  # for all processes to connect


def launched_processes() -> int:
    """Return the number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_command(name: str) -> None:
    """Raise an error in all processes for a command that runs in one process only."""
    size = launched_processes()
    if size > 1 and name not in ("run", "--help"):
        message = f"torchrun: found {name!r} in {size} processes; allowed: run"
        raise ConfigError(message) if os.environ.get("RANK") == "0" else SharedError(message)


@contextmanager
def joined(device_choice: str) -> Iterator[tuple[World, torch.device]]:
    """Provide the world of this run and this process's device; one process without torchrun.

    Raises DeviceError if a process has no such device.
    """
    size = launched_processes()
    if size == 1:
        yield ALONE, resolve_device(device_choice)
        return
    device = _own_device(device_choice)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    rank = int(os.environ["RANK"])
    dist.init_process_group(
        backend, timeout=_PATIENCE, store=_meeting_point(rank), rank=rank, world_size=size
    )
    try:
        yield World(rank, size), device
    finally:
        dist.destroy_process_group()


def check_agreement(
    config: PipelineConfig, content: Mapping[str, str], device: torch.device, world: World
) -> None:
    """Raise ConfigError, naming the first difference, unless all processes do the same work.

    `content` maps dataset names to content hashes.
    """
    described = flatten(config.model_dump(mode="json")) | dict(content) | {"device": device.type}
    first, *others = world.all_gather(described)
    for rank, other in enumerate(others, start=1):
        for key in sorted(first.keys() | other.keys()):
            if first.get(key) != other.get(key):
                raise ConfigError(
                    f"{key}: found {first.get(key)!r} in process 0 and {other.get(key)!r} in "
                    f"process {rank}; allowed: the same in all processes of a run"
                )


def check_shares(config: PipelineConfig, stages: set[str], world: World) -> None:
    """Raise ConfigError, naming the key, for a setting that several processes cannot use."""
    if world.alone:
        return
    trained = {"scorer": config.scorer, "probe": config.probed}
    if config.scorer.model == SUPERNET:
        del trained["scorer"]  # the search's settings define its training
    shared: dict[str, ClassifierConfig | SearchConfig | RetrainConfig] = {
        **trained,
        "search": config.search,
        "retrain": config.retrain,
    }
    if config.contest is not None:
        shared["contest.training"] = config.contest.training
    for stage in (each for each in shared if each.partition(".")[0] in stages):
        batch = shared[stage].batch_size
        if batch % world.size:
            raise ConfigError(
                f"{stage}.batch_size: found {batch} for {world.size} processes; allowed: a "
                f"multiple of {world.size}"
            )
        if getattr(shared[stage], "cuda_graph", "off") == "on":
            raise ConfigError(
                f"{stage}.cuda_graph: found 'on' for {world.size} processes, whose steps wait for "
                "each other; allowed: auto, off"
            )
    for stage in filter(stages.__contains__, trained):
        if trained[stage].mixing.kind == "manifold_mixup":
            raise ConfigError(
                f"{stage}.mixing: found manifold_mixup, which mixes inside the network across the "
                f"batch, for {world.size} processes; allowed: any other kind, or one process"
            )
        for key in ("record_losses", "record_dynamics"):
            if getattr(trained[stage], key):
                raise ConfigError(
                    f"{stage}.{key}: found true for {world.size} processes; allowed: false, or one "
                    "process"
                )


def _meeting_point(rank: int) -> dist.Store:
    """Return the store through which the processes exchange their addresses.

    Torchrun keeps one store for all restarts, with the addresses of dead processes in it; so every
    attempt has a prefix.
    """
    theirs = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=rank == 0 and not theirs, timeout=_ARRIVAL)
    return dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _own_device(choice: str) -> torch.device:
    """Return the process's device; with CUDA, the one of its local rank."""
    if ":" in choice:
        raise DeviceError(
            f"--device: found {choice!r} for several processes; allowed: auto, cpu, cuda; "
            "each process gets a device"
        )
    device = resolve_device(choice)
    if device.type == "cpu":
        return device
    local, here = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if here > torch.cuda.device_count():
        raise DeviceError(
            f"--device: found {torch.cuda.device_count()} CUDA devices for {here} processes on "
            "this machine; allowed: torchrun --nproc-per-node of at most that many, or --device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
