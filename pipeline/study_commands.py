"""What `sweep` does: a study read, checked, made as far as it is missing, and drawn."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from classification.checkpoint import write_atomically
from classification.errors import ArtifactError, ConfigError
from pipeline.console import Console
from pipeline.device import device_name, keep_freed_memory, resolve_device
from pipeline.page import REPORT
from pipeline.ray_cluster import check_ray
from pipeline.run_folder import RunFolder
from pipeline.store import Store
from pipeline.study import Study, load_study
from pipeline.study_agreement import add_agreement
from pipeline.study_report import write_study_report
from pipeline.study_results import collect_cells, study_cost
from pipeline.sweep import plan, sweep
from pipeline.tasks import Tasks
from pipeline.workers import datasets_of

_LOG, _CELLS = "log.txt", "cells"


def run_sweep(
    path: Path,
    overrides: Sequence[str],
    seeds: int | None,
    jobs: int | None,
    device_choice: str,
    artifacts: Path,
    runs: Path,
    dry_run: bool,
    ray_address: str | None = None,
) -> int:
    """Make what is missing of a study and write its page; 1 if a cell failed, else 0.

    Without `jobs` one stage is made at a time, or what the Ray at `ray_address` has room for.
    """
    for option, value in (("--jobs", jobs), ("--seeds", seeds)):
        if value is not None and not 1 <= value <= 100:
            raise ConfigError(f"{option}: found {value}; allowed: 1 to 100")
    jobs = 1 if jobs is None and ray_address is None else jobs
    study = load_study(path, overrides, seeds)
    device = resolve_device(device_choice)
    if jobs != 1 or ray_address is not None:
        if ":" in device_choice:
            raise ConfigError(
                f"--device: found {device_choice!r} with several stages at once; allowed: auto, "
                "cpu, cuda: Ray gives each stage a device"
            )
        check_ray("--jobs" if ray_address is None else "--ray", ray_address)
    keep_freed_memory()
    console = Console()
    tasks = plan(study, device, artifacts, console)
    if dry_run:
        _print_plan(study, tasks, console)
        return 0
    folder = runs / study.config.name
    _record(folder, study, tasks, artifacts, device_name(device))
    console.log = folder / _LOG
    console.say(f"study {study.config.name} on {device_name(device)} ({device})")
    words = ["python", "run_pipeline.py", "sweep", str(path), "--seeds", str(study.config.seeds)]
    command = shlex.join([*words, *(word for each in overrides for word in ("--set", each))])
    try:
        sweep(tasks, jobs, device, artifacts, console, ray_address)
    finally:
        store = Store(artifacts)
        results = collect_cells(study, tasks, store)
        if study.config.agreement and all(r.error or r.top1_error is not None for r in results):
            console.say("comparing rankings and subsets")
            add_agreement(
                results,
                lambda result: datasets_of(result.cell.config)["data"],
                device,
                study.config.reference,
            )
        write_study_report(folder, study, results, study_cost(tasks, store), command)
        console.say(f"report      {folder / REPORT}")
    failed = [result for result in results if result.error]
    for result in failed:
        console.say(f"failed      {result.cell}: {result.error}")
    return 1 if failed else 0


def _record(folder: Path, study: Study, tasks: Tasks, artifacts: Path, device: str) -> None:
    """Write down every cell as a run, so that `status` and `report` know it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "study.json", study.config.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise ArtifactError(
            f"{folder}: cannot be written ({error.strerror}); name another with --runs"
        ) from error
    for cell, keys in zip(study.cells, tasks.of_cell, strict=True):
        RunFolder.record(folder / _CELLS, cell.config, dict(keys), artifacts, device)


def _print_plan(study: Study, tasks: Tasks, console: Console) -> None:
    for cell, keys in zip(study.cells, tasks.of_cell, strict=True):
        parts = [f"{stage} {tasks.states[stage, key]}" for stage, key in keys]
        console.say(f"{cell}: {', '.join(parts)}")
    console.say(
        f"{len(study.cells)} cells, {len(tasks.tasks)} stages, {tasks.count('open')} to be made"
    )
