"""What each command does, once its arguments are read."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from classification.datasets import ImageDataset
from classification.errors import ArtifactError, ConfigError
from classification.world import World
from evaluate.cost_figures import accuracy_against_cost
from evaluate.figures import check_figure_path, save_figure
from evaluate.stage_figure import stage_graph
from pipeline.classification_report import write_classification_report
from pipeline.classification_results import read_classification
from pipeline.classification_table import classification_table
from pipeline.config import PipelineConfig, dump_config, load_config
from pipeline.console import Console
from pipeline.device import device_name, keep_freed_memory
from pipeline.graph import build_graph, fingerprints, stage_order
from pipeline.inputs import check_inputs, load_datasets
from pipeline.launch import check_agreement, check_shares, joined
from pipeline.ledger import Cost
from pipeline.page import REPORT, RESULTS
from pipeline.report import write_report
from pipeline.results import cost_point, read_results
from pipeline.run_folder import RunFolder
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.stages.ranking import RANKING
from pipeline.status import stage_state
from pipeline.store import Artifact, Store
from pipeline.subset_report import write_subset_report
from subsample.selection import SubsetConfig


def run(
    path: Path,
    overrides: Sequence[str],
    name: str | None,
    selection: Selection,
    device_choice: str,
    artifacts: Path,
    runs: Path,
    dry_run: bool,
) -> None:
    """Check everything, then make what is missing; with all stages done, write the report."""
    with joined(device_choice) as (world, device):
        keep_freed_memory()
        config, datasets = world.together(
            lambda: _prepare(path, overrides, name, selection, device, world)
        )
        world.together(lambda: check_agreement(config, _contents(datasets), device, world))
        console = Console() if world.is_first else Console(io.StringIO())
        store = Store(artifacts)
        runner = Runner(STAGES, config, datasets, store, device, console, world)
        if not world.is_first:
            if not dry_run:
                runner.run(selection)
            return
        if dry_run:
            for step in runner.plan(selection):
                console.say(f"{step.stage:8} {step.action:7} {step.fingerprint}  {step.reason}")
            return
        folder = RunFolder.record(runs, config, runner.keys, artifacts, device_name(device))
        console.log = folder.log
        number = "" if world.alone else f"{world.size} × "
        console.say(f"run {config.name} on {number}{device_name(device)} ({device})")
        made = runner.run(selection)
    if set(made) == set(runner.order):
        _write_report(folder, config, datasets, made, store, console)
    else:
        console.say(f"stopped as asked; see: python run_pipeline.py status {config.name}")


def status(name: str, runs: Path, artifacts: Path | None) -> None:
    """Print where each stage stands and what it has cost."""
    folder = RunFolder.open(runs, name)
    manifest = folder.manifest()
    store = _store_of(folder, artifacts)
    console = Console()
    total = Cost()
    for stage, key in manifest["stages"].items():
        state = stage_state(store, stage, key, manifest["name"])
        total += state.cost
        console.say(f"{stage:8} {state.state:28} {state.cost}")
    report_path = folder.report / REPORT
    console.say(f"{'report':8} {str(report_path) if report_path.exists() else 'pending'}")
    console.say(f"{'cost':8} {total} so far")


def report(name: str, runs: Path, artifacts: Path | None) -> None:
    """Write the report again from the artifacts."""
    folder = RunFolder.open(runs, name)
    config, store = folder.config(), _store_of(folder, artifacts)
    made: dict[str, Artifact] = {}
    for stage, key in folder.manifest()["stages"].items():
        artifact = store.find(stage, key)
        if artifact is None:
            raise ArtifactError(
                f"{name}: the run has no {stage} yet, so there is nothing to report"
            )
        made[stage] = artifact
    _write_report(folder, config, load_datasets(config), made, store, Console())


def plot(names: Sequence[str], output: Path, axis: str, runs: Path) -> None:
    """Draw accuracy against cost over any number of runs."""
    if axis not in ("search", "total"):
        raise ConfigError(f"--x: found {axis!r}; allowed: search, total")
    check_figure_path(output)
    results = [read_results(RunFolder.open(runs, name).report / RESULTS) for name in names]
    units = {result["cost"]["unit"] for result in results}
    if len(units) > 1:
        raise ConfigError(
            f"RUN: found {' and '.join(sorted(units))}, which have no common axis; "
            "allowed: runs on one kind of device"
        )
    what = "search alone" if axis == "search" else "scorer + scores + subset + search"
    points = [cost_point(result, axis) for result in results]
    save_figure(accuracy_against_cost(points, f"{units.pop()}, {what}"), output)
    print(output)


def table(names: Sequence[str], runs: Path) -> None:
    """Print classifier runs side by side, as a Markdown table."""
    folders = [RunFolder.open(runs, name) for name in names]
    print(classification_table([read_classification(f.report / RESULTS) for f in folders]))


def graph(path: Path, overrides: Sequence[str], output: Path | None) -> None:
    """Print the stage graph; draw it too if asked."""
    drawn = build_graph(STAGES, load_config(path, overrides))
    for stage in [*stage_order(drawn, STAGES), "report"]:
        print(f"{stage:8} ← {', '.join(sorted(drawn.predecessors(stage)))}")
    if output is not None:
        save_figure(stage_graph(drawn, None), output)
        print(output)


def show_config(path: Path, overrides: Sequence[str], schema: bool) -> None:
    """Print the resolved config, or the JSON schema of all configs."""
    config = load_config(path, overrides)
    if schema:
        print(json.dumps(PipelineConfig.model_json_schema(), indent=1))
    else:
        sys.stdout.write(dump_config(config))


def full_search_fingerprint(config: PipelineConfig, content_hash: str) -> str:
    """What the same search on all images would be called in the store."""
    full = config.without_extras.model_copy(
        update={"subset": SubsetConfig(measure="full", fraction=1.0)}
    )
    return fingerprints(STAGES, full, {"data": content_hash, "target": content_hash})["search"]


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


def _contents(datasets: dict[str, ImageDataset]) -> dict[str, str]:
    return {f"{name}, content hash": each.content_hash for name, each in datasets.items()}


def _write_report(
    folder: RunFolder,
    config: PipelineConfig,
    datasets: dict[str, ImageDataset],
    artifacts: dict[str, Artifact],
    store: Store,
    console: Console,
) -> None:
    if config.goal == "ranking":  # one ranking says nothing by itself
        console.say(f"ranking     {artifacts['ranking'].path / RANKING}")
        console.say("            beside that on all images: python run_pipeline.py fidelity CONFIG")
        return
    if config.goal == "classifier":
        data, scorer = datasets["data"], artifacts["scorer"]
        results = write_classification_report(folder, config, data, scorer, store)
        costs = [f"cost        {results['cost']['scorer']} {results['cost']['unit']}"]
    elif config.goal == "subset":
        results = write_subset_report(folder.report, config, datasets["data"], artifacts, store)
        cost = results["cost"]
        costs = [
            f"cost        {cost['selection']} {cost['unit']} the subset",
            f"            {cost['total']} {cost['unit']} with the probe",
        ]
    else:
        full_search = full_search_fingerprint(config, datasets["data"].content_hash)
        results = write_report(folder.report, config, datasets, artifacts, store, full_search)
        cost = results["cost"]
        costs = [
            f"cost        {cost['search_alone']} {cost['unit']} search alone",
            f"            {cost['total']} {cost['unit']} with all that went before it",
        ]
    console.say("")
    console.say(f"top-1 error {results['accuracy']['top1_error_last']:.2f} % (last epoch)")
    for line in costs:
        console.say(line)
    console.say(f"report      {folder.report / REPORT}")


def _store_of(folder: RunFolder, artifacts: Path | None) -> Store:
    root = artifacts or Path(folder.manifest().get("artifacts", "artifacts"))
    if not root.is_dir():
        raise ArtifactError(f"{root}: no such folder of artifacts; name it with --artifacts")
    return Store(root)
