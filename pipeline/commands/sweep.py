"""The `sweep` command."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classification.errors import ConfigError
from classification.persistence.storage import writable, write_atomically
from pipeline.commands.options import Artifacts, Device, Overrides, Quiet, Runs
from pipeline.console import Console
from pipeline.run_folder import PAGE, REPORT, RESULTS, RunFolder
from pipeline.store.ledger import start_time
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.studies.study import Study
    from pipeline.studies.tasks import Tasks

_LOG, _TRIALS = "log.txt", "trials"


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="YAML, see configs/studies/")],
    seeds: Annotated[
        int | None, typer.Option(help="seeds of each trial (default: the study's)")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="stages to run at once (default: 1; with --ray, as many as fit)"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="a running Ray cluster: HOST:PORT, ray://HOST:PORT or auto"
        ),
    ] = None,
    set_: Overrides = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the state of every trial, run nothing")
    ] = (False),
    quiet: Quiet = False,
) -> int:
    """Run a study, or resume it: a grid of settings and seeds.

    Ends with a report, report.html and report.md: mean, standard deviation, n, differences.

    \b
    Example:
      python run_pipeline.py sweep configs/studies/figure5a-small.yaml --seeds 3 --jobs 2
      python run_pipeline.py sweep configs/studies/figure5a.yaml --ray head:6379
    """
    begun, started = time.monotonic(), start_time()
    from pipeline.device import (  # slow to import, and `--help` needs none of it
        device_name,
        keep_freed_memory,
        resolve_device,
    )
    from pipeline.reports.record import is_current, write_record
    from pipeline.start_up import start_up_attempt
    from pipeline.studies.agreement import add_agreement
    from pipeline.studies.ray_cluster import check_ray
    from pipeline.studies.report import study_key, write_study_report
    from pipeline.studies.results import collect_trials, study_cost
    from pipeline.studies.study import load_study
    from pipeline.studies.sweep import make_all, plan
    from pipeline.studies.tasks import datasets_of

    for option, value in (("--jobs", jobs), ("--seeds", seeds)):
        if value is not None and not 1 <= value <= 100:
            raise ConfigError(f"{option}: found {value}; allowed: 1 to 100")
    at_once = (
        1 if jobs is None and ray is None else jobs
    )  # None: as many as the cluster has room for
    overrides = set_ or []
    asked = load_study(study, overrides, seeds)
    own_device = resolve_device(device)
    if at_once != 1 or ray is not None:
        if ":" in device:
            raise ConfigError(
                f"--device: found {device!r} with several stages at once; allowed: auto, "
                "cpu, cuda: Ray gives each stage a device"
            )
        check_ray("--jobs" if ray is None else "--ray", ray)
    keep_freed_memory()
    console = Console.choose(quiet, as_json=False)
    tasks = plan(asked, own_device, artifacts, console)
    if dry_run:
        _print_plan(asked, tasks, console)
        return 0
    folder = runs / asked.config.name
    with RunFolder(folder).claimed(console.log):
        _record(folder, asked, tasks, artifacts, device_name(own_device))
        if tasks.count("open"):  # else the command only draws again
            RunFolder(folder).start_ups.append(
                start_up_attempt(asked.config.name, own_device, 1, started, begun)
            )
        console.log_file = folder / _LOG
        console.log(f"study {asked.config.name} on {device_name(own_device)} ({own_device})")
        words = [
            "python",
            "run_pipeline.py",
            "sweep",
            str(study),
            "--seeds",
            str(asked.config.seeds),
        ]
        words += [word for each in overrides for word in ("--set", each)]
        for option, place in (("--artifacts", artifacts), ("--runs", runs)):
            words += [option, str(place)] if str(place) != option[2:] else []
        command = shlex.join(words)
        try:
            make_all(tasks, at_once, own_device, artifacts, console, ray)
        finally:
            store = Store(artifacts)
            results = collect_trials(asked, tasks, store)
            key = study_key(folder, asked, results, command, tasks, store)
            if not is_current(folder, key):
                all_images = []
                whole = all(r.error or r.top1_error is not None for r in results)
                if asked.config.agreement and whole:
                    console.log("comparing rankings and subsets")
                    all_images = add_agreement(
                        results,
                        lambda result: datasets_of(result.trial.config)["data"],
                        own_device,
                        asked.config.reference,
                    )
                cost = study_cost(tasks, store)
                write_study_report(folder, asked, results, cost, command, all_images)
                write_record(folder, key, {}, (REPORT, PAGE, RESULTS, "figure*"))
            console.log(f"report      {folder / REPORT}")
            console.log(f"            {folder / PAGE}")
    failed = [result for result in results if result.error]
    for result in failed:
        console.log(f"failed      {result.trial}: {result.error}")
    return 1 if failed else 0


def _record(folder: Path, study: Study, tasks: Tasks, artifacts: Path, device: str) -> None:
    """Record every trial as a run for `status` and `report`."""
    with writable(folder, "--runs"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "study.json", study.config.model_dump_json(indent=1) + "\n")
    for trial, keys in zip(study.trials, tasks.of_trial, strict=True):
        RunFolder.record(folder / _TRIALS, trial.config, dict(keys), artifacts, device)


def _print_plan(study: Study, tasks: Tasks, console: Console) -> None:
    for trial, keys in zip(study.trials, tasks.of_trial, strict=True):
        parts = [f"{stage} {tasks.states[stage, key]}" for stage, key in keys]
        console.log(f"{trial}: {', '.join(parts)}")
    console.log(
        f"{len(study.trials)} trials, {len(tasks.tasks)} stages, {tasks.count('open')} to be made"
    )
