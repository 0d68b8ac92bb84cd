"""The `estimate` command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classification.durations import format_cost, format_estimate
from classification.errors import ConfigError
from pipeline.commands.options import Artifacts, ConfigPath, Device, Json, Overrides
from pipeline.config import load_config
from pipeline.console import Console, print_json
from pipeline.estimates import SECONDS
from pipeline.stages import STAGES
from pipeline.store.store import Store

if TYPE_CHECKING:
    import torch

    from pipeline.estimates.expected import RunEstimate, StageEstimate

_WALL = 8  # columns of a wall-clock time, such as 12.3 min
_WIDTH = 16  # of a cost, such as 12.3 CPU-minutes
_UNITS = {"cpu": "CPU-hours", "gpu": "GPU-hours"}


def estimate(
    config: ConfigPath,
    set_: Overrides = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    seconds: Annotated[
        float, typer.Option(help="seconds of measuring, for all stages together")
    ] = SECONDS,
    json_: Json = False,
) -> None:
    """Estimate hours and memory of a run from a few steps of each stage.

    Measures for half a minute. The first column is wall-clock time if no other program runs. Where
    the cost depends on something not known yet, such as the network that the search will find, a
    range is printed. Finished stages count as zero. Nothing is written, and the ledger does not
    change.

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
    from pipeline.estimates.measuring import Measuring
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
    with console.measuring() as show:
        found = estimate_run(runner, seconds, show=Measuring(show, seconds))
    if json_:
        print_json(_document(found, own_device))
        return
    unit = _UNITS[device_kind(own_device)]
    for stage in found.stages:
        console.log(_line(stage, found, unit))
    for line in _sums(found, unit):
        console.log(line)
    console.log(f"nothing was written to {artifacts}, to a run or to the ledger")


def _line(stage: StageEstimate, run: RunEstimate, unit: str) -> str:
    """Return the line of a stage: wall-clock time, cost, memory, notes."""
    if stage.hours is None:
        return f"{stage.stage:10} not estimated: {stage.note}"
    if stage.action == "reuse":
        return f"{stage.stage:10} {_both(0.0, run, unit)}  reused, {stage.note}"
    notes = [f"{(stage.peak_memory_bytes or 0) / 1e9:.1f} GB"]
    if stage.cut is not None:
        images = "1 image" if stage.cut == 1 else f"{stage.cut} images"
        notes[0] = (
            f"at least {notes[0]} (measured with batches of {images}; a run's have {stage.batch:,})"
        )
    if stage.low is not None and stage.high is not None and stage.low < stage.high:
        notes.append(f"{_range(stage.low, stage.high, run)}: {stage.note}")
    elif stage.note:
        notes.append(stage.note)
    if stage.action == "resume":
        notes.append("remaining work only")
    return f"{stage.stage:10} {_both(stage.hours, run, unit)}  {'  '.join(notes)}"


def _both(hours: float, run: RunEstimate, unit: str) -> str:
    """Return the wall-clock time of device-hours, and their number, as columns."""
    wall, cost = format_estimate(run.wall_seconds(hours)), format_cost(hours, unit)
    if 0 < 3600 * hours < 1:
        cost = f"<1 {unit.replace('hours', 'second')}"
    return f"{wall:>{_WALL}}  {cost:>{_WIDTH}}"


def _sums(found: RunEstimate, unit: str) -> list[str]:
    notes = [_range(found.low, found.high, found)] if found.low < found.high else []
    if found.not_estimated:
        notes.append(f"without {' and '.join(found.not_estimated)}")
    lines = [f"{'total':10} {_both(found.total, found, unit)}  {'  '.join(notes)}".rstrip()]
    if any(each.stage == "search" for each in found.stages):
        before = _both(found.before_retraining, found, unit)
        alone = _both(found.search_alone, found, unit)
        lines.append(f"{'of which':10} {before}  scorer + scores + subset + search")
        lines.append(f"{'':10} {alone}  search alone")
    lines.append(found.expected)
    if found.is_busy:
        lines.append(f"{found.caution}; run `estimate` again when it is free")
    return lines


def _range(low: float, high: float, run: RunEstimate) -> str:
    return " to ".join(format_estimate(run.wall_seconds(hours)) for hours in (low, high))


def _document(found: RunEstimate, device: torch.device) -> dict[str, Any]:
    from pipeline.device import device_kind, device_name

    return {
        "device": device_name(device),
        "unit": _UNITS[device_kind(device)],
        "stages": [asdict(stage) for stage in found.stages],
        "total": found.total,
        "low": found.low,
        "high": found.high,
        "wall_hours": found.wall_seconds(found.total) / 3600,
        "waited": found.waited,
        "before_retraining": found.before_retraining,
        "search_alone": found.search_alone,
        "not_estimated": found.not_estimated,
    }
