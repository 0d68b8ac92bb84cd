"""The cost of a command's start: from its first line to its first stage, images included."""

import time

import torch

from pipeline.device import device_kind, device_name, software
from pipeline.store.ledger import Attempt


def start_up_attempt(
    run: str, device: torch.device, processes: int, started: str, begun: float
) -> Attempt:
    """Return what the start of a command took until now; it belongs to no artifact.

    `started` is its timestamp, and `begun` the value of `time.monotonic` then.
    """
    return Attempt(
        stage="start-up",
        fingerprint="",
        run=run,
        started=started,
        seconds=round(time.monotonic() - begun, 3),
        device=device_name(device),
        device_kind=device_kind(device),
        devices=processes,
        outcome="done",
        software=software(),
        threads=torch.get_num_threads(),
    )
