"""The warning that a run is a new one, with its cost and how to resume the last one instead."""

import io
from pathlib import Path

from classification.durations import format_cost
from classification.errors import resume_with
from pipeline.config import dump_config
from pipeline.console import Console
from pipeline.device import device_kind
from pipeline.estimates.estimate import estimate
from pipeline.run_folder import LastRun, RunFolder
from pipeline.runner import Runner, Selection
from pipeline.store.store import Store

SECONDS = 5.0  # of measuring


def warn_of_new_run(runner: Runner, selection: Selection, last: LastRun, moved: RunFolder) -> None:
    """Log a warning if `last`, whose folder is now `moved`, had other settings and is unfinished.

    The cost is that of the selected stages that have to run; nothing is logged if there are none.
    """
    artifacts = Store(Path(last.artifacts or runner.store.root))
    finished = all(artifacts.path(stage, key).exists() for stage, key in last.stages.items())
    if finished or last.config_text == dump_config(runner.config):
        return
    hours = _expected_hours(runner, selection)
    if hours == 0:
        return
    unit = "GPU-hours" if device_kind(runner.device) == "gpu" else "CPU-hours"
    cost = "" if hours is None else f" of about {format_cost(hours, unit)}"
    name = runner.config.name
    runner.console.log(
        f"warning: this begins a new run{cost}; the last run named {name} had other settings and "
        f"is not finished; {resume_with(moved.resume_command(artifacts.root, name))}"
    )


def _expected_hours(runner: Runner, selection: Selection) -> float | None:
    """Return the device-hours of the selected stages, or None if they cannot be estimated."""
    place = runner.datasets, runner.store, runner.device, Console(io.StringIO())
    quiet = Runner(runner.stages, runner.config, *place)
    selected = selection.of(runner.order)
    try:
        return estimate(quiet, SECONDS, only=selected, force=selection.force).total
    except Exception:
        return None  # if the run cannot work either, it says why
