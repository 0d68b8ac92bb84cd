"""The `fidelity` command."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

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
from pipeline.config import PipelineConfig, load_config
from pipeline.console import Console, print_json
from pipeline.run_folder import PAGE, REPORT, RunFolder
from pipeline.stages import STAGES
from pipeline.store.store import Store


def fidelity(
    config: ConfigPath,
    set_: Overrides = None,
    name: Name = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
    quiet: Quiet = False,
    json_: Json = False,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, help="repeat with so many seeds, on the same architectures"),
    ] = 1,
) -> None:
    """Compare architecture rankings on the subset and on all images.

    Trains random architectures on both and reports Kendall's tau.

    \b
    Example:
      python run_pipeline.py fidelity configs/quickstart.yaml --set fidelity.architectures=8
    """
    from evaluate.fidelity import RankCorrelation  # slow to import, and `--help` needs none of it
    from pipeline.device import device_name, keep_freed_memory, resolve_device
    from pipeline.inputs import check_inputs, load_datasets
    from pipeline.reports.fidelity import (
        Ranking,
        Rankings,
        collect_fidelity,
        correlation_title,
        variants,
        write_fidelity,
    )
    from pipeline.reports.page import describe_dataset
    from pipeline.runner import Runner, Selection

    overrides = set_ or []
    own = load_config(config, [*overrides, "goal=ranking"], name)
    configs = {
        measure: [load_config(config, *changes) for changes in runs_of]
        for measure, runs_of in variants(own, overrides, seeds).items()
    }
    own_device = resolve_device(device)
    keep_freed_memory()
    datasets = load_datasets(own)
    for each in chain(*configs.values()):
        check_inputs(each, datasets, own_device)
    store, console = Store(artifacts), Console.choose(quiet, json_)

    def rank(each: PipelineConfig) -> Ranking:
        runner = Runner(STAGES, each, datasets, store, own_device, console)
        folder = RunFolder.record(runs, each, runner.keys, artifacts, device_name(own_device))
        console.log_file = folder.log
        console.log(f"run {each.name} on {device_name(own_device)} ({own_device})")
        return Ranking.of(each, runner.run(Selection()), store)

    report = runs / f"{own.name}-fidelity"
    with RunFolder(report).claimed(console.log):
        rankings = {
            measure: Rankings(tuple(rank(each) for each in group))
            for measure, group in configs.items()
        }
        results = collect_fidelity(own, rankings)
        write_fidelity(report, own, rankings, results, describe_dataset(datasets["data"]))
    console.log("")
    for measure, found in results["correlations"].items():
        tau = RankCorrelation(**found)
        console.log(f"Kendall tau {correlation_title(measure, own)} against full data: {tau}")
    console.log(f"report      {report / REPORT}")
    console.log(f"            {report / PAGE}")
    if json_:
        print_json(results)
