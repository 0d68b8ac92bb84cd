"""Messages with advice for failures of a stage: full disk, memory, lost device."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from classification.errors import DeviceError, LostDeviceError, PipelineError
from classification.persistence.storage import refusal_of
from pipeline.config import PipelineConfig
from pipeline.store.ledger import Attempt

# Messages of errors for which torch has no exception class.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|out of memory|ALLOC_FAILED|std::bad_alloc|not enough memory", re.I
)
_LOST = re.compile(r"CUDA error|CUDA driver error|cu(DNN|BLAS)\w* error|NVML|device-side", re.I)


def failure_of(
    error: BaseException,
    stage: str,
    section: str,
    attempt: Attempt,
    config: PipelineConfig,
    work: Path,
) -> PipelineError | None:
    """Return the error to report for a stage that worked in `work`; None for a bug.

    `section` is the dotted key of the settings that decide how much memory the stage takes.
    """
    if isinstance(error, PipelineError):
        return error
    if is_out_of_memory(error):
        return _out_of_memory(error, stage, section, attempt, config)
    if isinstance(error, OSError):
        return refusal_of(error, work)
    if isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error))
    ):
        return LostDeviceError(
            f"{stage}: the device stopped working{attempt.how_far} ({_first_line(error)}); check "
            "it with nvidia-smi or choose another --device, then run the same command to resume "
            "from the last checkpoint"
        )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or this machine ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def _out_of_memory(
    error: BaseException, stage: str, section: str, attempt: Attempt, config: PipelineConfig
) -> DeviceError:
    """Name every setting of the stage that would lower its memory, with its value."""
    where = "device" if attempt.device_kind == "gpu" else "machine"
    ways = _lower_memory(section, config, attempt.device_kind == "gpu")
    ways.append("choose another --device" if where == "device" else "free some of it")
    advice = " or ".join(filter(None, [", ".join(ways[:-1]), ways[-1]]))
    reason = _first_line(error)
    return DeviceError(
        f"{stage}: the {where} ran out of memory{attempt.how_far}{f' ({reason})' if reason else ''}"
        f"; {advice}"
    )


def _lower_memory(section: str, config: PipelineConfig, on_gpu: bool) -> list[str]:
    settings: Any = config
    for part in section.split("."):
        settings = getattr(settings, part, None)
    if not isinstance(settings, BaseModel):
        return []
    found: Mapping[str, Any] = settings.model_dump()
    ways = [f"lower {section}.batch_size ({found['batch_size']})"] if "batch_size" in found else []
    if "device_batch_size" in found:
        now = found["device_batch_size"]
        ways.append(
            f"lower {section}.device_batch_size ({now})"
            if now
            else f"set {section}.device_batch_size below it"
        )
    if on_gpu and found.get("precision") == "fp32":
        ways.append(f"set {section}.precision=bf16")
    if on_gpu and found.get("cuda_graph", "off") != "off":
        ways.append(f"set {section}.cuda_graph=off")
    return ways


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
