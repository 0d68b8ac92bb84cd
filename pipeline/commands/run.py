"""The `run` command."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classification.errors import ArtifactError, InterruptedRunError
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
from pipeline.graph import build_graph, stage_order
from pipeline.reports.record import RECORD, notes_of, unchanged_run
from pipeline.reports.run import log_results, write_run_report
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.stages.search import GENOTYPE
from pipeline.store.ledger import start_time
from pipeline.store.store import Artifact, Store, reused_line

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset
    from classification.world import World
    from pipeline.runner import Runner, Selection

Until = Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")]
Only = Annotated[
    str | None, typer.Option(metavar="STAGE", help="run only this stage, from existing artifacts")
]
Force = Annotated[str | None, typer.Option(metavar="STAGE", help="run this stage again")]
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
        bool, typer.Option("--tensorboard", help="also write event files to runs/NAME/tensorboard")
    ] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Run a config, or resume it; finished stages are reused.

    \b
    Example:
      python run_pipeline.py run configs/quickstart.yaml --set seed=1 --name quickstart-1
      python run_pipeline.py run configs/classification/cifar100-small.yaml --device cpu
    """
    begun, started = time.monotonic(), start_time()
    plain = (until, only, force, dry_run, tensorboard) == (None, None, None, False, False)
    if plain and device in ("auto", "cpu") and "WORLD_SIZE" not in os.environ:
        own = load_config(config, set_ or [], name)
        if _has_nothing_to_do(own, runs, Store(artifacts), Console.choose(quiet, json_), json_):
            return
    from pipeline.launch import joined  # slow to import, and `--help` needs none of it
    from pipeline.runner import Selection
    from pipeline.start_up import start_up_attempt
    from pipeline.tracking import Tracker, check_tensorboard

    selection = Selection(until, only, force)
    if tensorboard:
        check_tensorboard()
    with joined(device) as (world, own_device):
        console = Console.choose(quiet or not world.is_first, json_)
        place = world, own_device, Store(artifacts), console
        runner = _prepare(config, set_ or [], name, selection, place)
        start_up = start_up_attempt(runner.config.name, own_device, world.size, started, begun)
        folder = RunFolder(runs / runner.config.name)
        if dry_run:
            if world.is_first:
                _print_plan(runner, selection, folder, json_)
            return
        with _claimed(folder, runner):
            if not world.is_first:
                runner.run(selection)
                return
            _record(folder, runner, selection)
            folder.start_ups.append(start_up)
            tracker = Tracker(folder.events) if tensorboard else None
            if tracker is not None:
                runner.watch = tracker.watch
            try:
                made, results = runner.run(selection), None
            except InterruptedRunError as stop:
                if world.alone:
                    given = _unrecorded(device, selection, tensorboard, runner, stop.stage)
                    stop.again = folder.resume_command(artifacts, runner.config.name, *given)
                raise
            if set(made) == set(runner.order):
                results = write_run_report(
                    folder, runner.config, dict(runner.datasets), made, runner.store, console
                )
                if tracker is not None:
                    tracker.show(folder.report)
            else:
                again = f"python run_pipeline.py status {runner.config.name}"
                console.log(f"stopped as requested; see: {again}")
            if json_:
                stages = {stage: str(artifact.path) for stage, artifact in made.items()}
                print_json({"run": str(folder.path), "stages": stages, "results": results})


def _has_nothing_to_do(
    config: PipelineConfig, runs: Path, store: Store, console: Console, as_json: bool
) -> bool:
    """Whether all stages and the report are as an earlier run left them; logs what that run found.

    Torch is not imported and the images are not read, so this takes no more than a second.
    """
    folder = RunFolder(runs / config.name)
    if not (folder.report / RECORD).is_file():
        return False
    with folder.claimed(console.log, dump_config(config)):
        made = unchanged_run(folder, config, store)
        if made is None:
            return False
        console.log_file = folder.log
        console.log(f"run {config.name}: nothing has changed since the last run")
        for note in notes_of(folder):
            console.log(note)
        for stage, artifact in made.items():
            console.log(reused_line(store, stage, artifact.fingerprint))
        results = log_results(folder, config, console)
    if as_json:
        stages = {stage: str(artifact.path) for stage, artifact in made.items()}
        print_json({"run": str(folder.path), "stages": stages, "results": results})
    return True


def _prepare(
    path: Path,
    overrides: Sequence[str],
    name: str | None,
    selection: Selection,
    place: tuple[World, torch.device, Store, Console],
) -> Runner:
    """Return the runner after all processes have passed the checks."""
    from pipeline.device import keep_freed_memory
    from pipeline.inputs import check_inputs, load_datasets
    from pipeline.launch import check_agreement, check_shares
    from pipeline.runner import Runner

    world, device, store, console = place
    keep_freed_memory()

    def load() -> tuple[PipelineConfig, dict[str, ImageDataset]]:
        config = load_config(path, overrides, name)
        graph = build_graph(STAGES, config)
        order = stage_order(graph, STAGES)
        selection.check(order)
        check_shares(config, set(selection.of(order)), world)
        datasets = load_datasets(config)
        check_inputs(config, datasets, device, selection.of(order))
        return config, datasets

    config, datasets = world.together(load)
    contents = {f"{each}, content hash": d.content_hash for each, d in datasets.items()}
    world.together(lambda: check_agreement(config, contents, device, world))
    return Runner(STAGES, config, datasets, store, device, console, world)


@contextmanager
def _claimed(folder: RunFolder, runner: Runner) -> Iterator[None]:
    """Lock the run's folder for the block, in all processes of the run."""
    with ExitStack() as held:
        mine = folder.claimed(runner.console.log, dump_config(runner.config))
        claim = mine if runner.world.is_first else nullcontext()
        runner.world.together(lambda: held.enter_context(claim))
        yield


def _print_plan(runner: Runner, selection: Selection, folder: RunFolder, as_json: bool) -> None:
    plan = runner.plan(selection)
    for line in _changes(runner, folder):
        runner.console.log(line)
    for step in plan:
        runner.console.log(f"{step.stage:8} {step.action:7} {step.fingerprint}  {step.reason}")
    if any(step.stage == "width" for step in plan):
        runner.console.log(_planned_width(runner))
    if as_json:
        print_json([asdict(step) for step in plan])


def _planned_width(runner: Runner) -> str:
    """Return the line of the width that the run has chosen or, if the genotype is known, would."""
    from pcdarts.genotype import Genotype
    from pcdarts.genotype_files import find_genotype
    from pipeline.stages import width

    config, made = runner.config, _intact(runner, "width")
    if made is not None:
        return width.width_line(width.chosen_width(made))
    if config.contest is not None:
        return "width: the contest chooses that of each contestant; that of the winner is retrained"
    found = None if config.genotype is not None else _intact(runner, "search")
    if config.genotype is not None:
        genotype = find_genotype(config.genotype)
    elif found is not None:
        genotype = Genotype.load(found.path / GENOTYPE)
    else:
        return "width: chosen when the genotype is known"
    target = runner.datasets["target"]
    chosen = width.describe_width(width.settings(config), genotype, target, runner.device)
    measured = (
        "" if chosen["latency_measured"] is None else " (the run measures the latency itself)"
    )
    return f"{width.width_line(chosen)}{measured}"


def _intact(runner: Runner, stage: str) -> Artifact | None:
    """Return the stage's artifact; None if it does not exist or is damaged."""
    try:
        return runner.store.find(stage, runner.keys[stage])
    except ArtifactError:
        return None


def _record(folder: RunFolder, runner: Runner, selection: Selection) -> None:
    """Record the run, and print what changed since the last one."""
    from pipeline.device import device_name

    last, changes, device = folder.last(), _changes(runner, folder), device_name(runner.device)
    moved = folder.make_way(runner.config, runner.keys)
    RunFolder.record(folder.path.parent, runner.config, runner.keys, runner.store.root, device)
    runner.console.log_file = folder.log
    number = "" if runner.world.alone else f"{runner.world.size} × "
    runner.console.log(f"run {runner.config.name} on {number}{device} ({runner.device})")
    stages = selection.of(runner.order)
    runner.console.log(f"{len(stages)} stage{'s' * (len(stages) != 1)}: {', '.join(stages)}")
    for key, dataset in runner.datasets.items():
        if key == "data" or dataset is not runner.datasets["data"]:
            for note in dataset.notes:
                runner.console.log(f"{key}: {note}")
    for line in changes:
        runner.console.log(line)
    if last is not None and moved is not None:
        from pipeline.estimates.new_run import warn_of_new_run

        runner.console.log(f"the last run's {folder.path} was moved to {moved.path}")
        warn_of_new_run(runner, selection, last, moved)


def _unrecorded(
    device: str, selection: Selection, tensorboard: bool, runner: Runner, stopped_in: str | None
) -> list[str]:
    """Return the options of the command that are not recorded with the run.

    A stage made again with --force keeps its unfinished work only with the same option; after it
    has ended, the option would make it once more.
    """
    order, forced = runner.order, selection.force
    if forced and stopped_in and order.index(stopped_in) > order.index(forced):
        forced = None
    given = {"device": None if device == "auto" else device, **vars(selection), "force": forced}
    words = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    return [*words, "--tensorboard"] if tensorboard else words


def _changes(runner: Runner, folder: RunFolder) -> list[str]:
    from pipeline.changes import changes_since

    last = folder.last()
    return [] if last is None else changes_since(last, runner)
