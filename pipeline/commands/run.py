"""The `run` command."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from classification.datasets import ImageDataset
from classification.world import World
from pipeline.changes import changes_since
from pipeline.commands.options import (
    Artifacts,
    ConfigPath,
    Device,
    Json,
    Name,
    Overrides,
    Quiet,
    Runs,
)
from pipeline.config import PipelineConfig, dump_config, load_config
from pipeline.console import Console, print_json
from pipeline.device import device_name, keep_freed_memory
from pipeline.graph import build_graph, stage_order
from pipeline.inputs import check_inputs, load_datasets
from pipeline.launch import check_agreement, check_shares, joined
from pipeline.reports.run import write_run_report
from pipeline.run_folder import RunFolder
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.store.store import Store
from pipeline.tracking import Tracker, check_tensorboard

Until = Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")]
Only = Annotated[
    str | None, typer.Option(metavar="STAGE", help="this stage, from the artifacts that stand")
]
Force = Annotated[str | None, typer.Option(metavar="STAGE", help="make this stage again")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print what would run, and why")]


def run(
    config: ConfigPath,
    set_: Overrides = None,
    name: Name = None,
    until: Until = None,
    only: Only = None,
    force: Force = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="event files under runs/NAME/tensorboard")
    ] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Run a config, or go on with it: what is already made is reused.

    \b
    Example:
      python run_pipeline.py run configs/quickstart.yaml --set seed=1 --name quickstart-1
      python run_pipeline.py run configs/classification/cifar100-small.yaml --device cpu
    """
    selection = Selection(until, only, force)
    if tensorboard:
        check_tensorboard()
    with joined(device) as (world, own_device), ExitStack() as held:
        keep_freed_memory()
        resolved, datasets = world.together(
            lambda: _prepare(config, set_ or [], name, selection, own_device, world)
        )
        contents = {f"{each}, content hash": d.content_hash for each, d in datasets.items()}
        world.together(lambda: check_agreement(resolved, contents, own_device, world))
        console = Console.choose(quiet or not world.is_first, json_)
        store = Store(artifacts)
        runner = Runner(STAGES, resolved, datasets, store, own_device, console, world)
        folder = RunFolder(runs / resolved.name)
        if not dry_run:
            mine = folder.claimed(console.say, dump_config(resolved))
            world.together(lambda: held.enter_context(mine if world.is_first else nullcontext()))
        if not world.is_first:
            if not dry_run:
                runner.run(selection)
            return
        last = folder.last()
        changes = [] if last is None else changes_since(last, runner)
        if dry_run:
            plan = runner.plan(selection)
            for line in changes:
                console.say(line)
            for step in plan:
                console.say(f"{step.stage:8} {step.action:7} {step.fingerprint}  {step.reason}")
            if json_:
                print_json([asdict(step) for step in plan])
            return
        RunFolder.record(runs, resolved, runner.keys, artifacts, device_name(own_device))
        console.log = folder.log
        number = "" if world.alone else f"{world.size} × "
        console.say(f"run {resolved.name} on {number}{device_name(own_device)} ({own_device})")
        for line in changes:
            console.say(line)
        if changes:
            console.say(f"what the last run had in {folder.path} is kept in {folder.history}")
        tracker = Tracker(folder.events) if tensorboard else None
        if tracker is not None:
            runner.watch = tracker.watch
        made = runner.run(selection)
        results = None
        if set(made) == set(runner.order):
            results = write_run_report(folder, resolved, datasets, made, store, console)
            if tracker is not None:
                tracker.show(folder.report)
        else:
            console.say(f"stopped as asked; see: python run_pipeline.py status {resolved.name}")
        if json_:
            stages = {stage: str(artifact.path) for stage, artifact in made.items()}
            print_json({"run": str(folder.path), "stages": stages, "results": results})


def _prepare(
    path: Path,
    overrides: Sequence[str],
    name: str | None,
    selection: Selection,
    device: torch.device,
    world: World,
) -> tuple[PipelineConfig, dict[str, ImageDataset]]:
    """The config and its images, once nothing speaks against a run."""
    config = load_config(path, overrides, name)
    graph = build_graph(STAGES, config)
    selection.check(stage_order(graph, STAGES))
    check_shares(config, set(graph), world)
    datasets = load_datasets(config)
    check_inputs(config, datasets, device)
    return config, datasets
