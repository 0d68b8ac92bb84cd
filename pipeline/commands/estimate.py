"""The `estimate` command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classification.errors import ConfigError
from pipeline.commands.options import Artifacts, ConfigPath, Device, Json, Overrides
from pipeline.config import load_config
from pipeline.console import Console, print_json
from pipeline.estimates import SECONDS
from pipeline.stages import STAGES
from pipeline.store.ledger import format_hours
from pipeline.store.store import Store

if TYPE_CHECKING:
    import torch

    from pipeline.estimates.estimate import RunEstimate, StageEstimate

_UNITS = {"cpu": "CPU-hours", "gpu": "GPU-hours"}


def estimate(
    config: ConfigPath,
    set_: Overrides = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    seconds: Annotated[
        float, typer.Option(help="seconds of measuring for each kind of step")
    ] = SECONDS,
    json_: Json = False,
) -> None:
    """Estimate hours and memory of a run from a few steps of each stage.

    Finished stages count as zero. Nothing is written, and the ledger does not change.

    \b
    Example:
      python run_pipeline.py estimate configs/quickstart.yaml --set search.epochs=100
    """
    from pipeline.device import (  # slow to import, and `--help` needs none of it
        device_kind,
        device_name,
        keep_freed_memory,
        resolve_device,
    )
    from pipeline.estimates.estimate import estimate as estimate_run
    from pipeline.inputs import check_inputs, load_datasets
    from pipeline.runner import Runner

    if not 0 < seconds <= 3600:
        raise ConfigError(f"--seconds: found {seconds:g}; allowed: above 0, up to 3600")
    resolved, own_device = load_config(config, set_ or []), resolve_device(device)
    datasets = load_datasets(resolved)
    check_inputs(resolved, datasets, own_device)
    keep_freed_memory()
    console = Console.choose(quiet=False, as_json=json_)
    console.log(f"estimate of {resolved.name} on {device_name(own_device)} ({own_device})")
    runner = Runner(STAGES, resolved, datasets, Store(artifacts), own_device, console)
    found = estimate_run(runner, seconds)
    if json_:
        print_json(_document(found, own_device))
        return
    unit = _UNITS[device_kind(own_device)]
    for stage in found.stages:
        console.log(_line(stage, unit))
    for line in _sums(found, unit):
        console.log(line)
    console.log(f"nothing was written to {artifacts}, to a run or to the ledger")


def _line(stage: StageEstimate, unit: str) -> str:
    """Return the line of a stage: hours, memory, notes."""
    if stage.hours is None:
        return f"{stage.stage:10} not estimated: {stage.note}"
    if stage.action == "reuse":
        return f"{stage.stage:10} {0:>8} {unit}  reused, {stage.note}"
    notes = [f"{(stage.peak_memory_bytes or 0) / 1e9:.1f} GB"]
    if stage.low is not None and stage.high is not None:
        notes.append(f"{format_hours(stage.low)} to {format_hours(stage.high)}, {stage.note}")
    if stage.action == "resume":
        notes.append("remaining work only")
    return f"{stage.stage:10} {format_hours(stage.hours):>8} {unit}  {'  '.join(notes)}"


def _sums(found: RunEstimate, unit: str) -> list[str]:
    without = f", without {' and '.join(found.not_estimated)}" if found.not_estimated else ""
    lines = [f"{'total':10} {format_hours(found.total):>8} {unit}{without}"]
    if any(each.stage == "search" for each in found.stages):
        before = format_hours(found.before_retraining)
        alone = format_hours(found.search_alone)
        lines.append(f"{'of which':10} {before:>8} {unit}  scorer + scores + subset + search")
        lines.append(f"{'':10} {alone:>8} {unit}  search alone")
    return lines


def _document(found: RunEstimate, device: torch.device) -> dict[str, Any]:
    from pipeline.device import device_kind, device_name

    return {
        "device": device_name(device),
        "unit": _UNITS[device_kind(device)],
        "stages": [asdict(stage) for stage in found.stages],
        "total": found.total,
        "before_retraining": found.before_retraining,
        "search_alone": found.search_alone,
        "not_estimated": found.not_estimated,
    }
