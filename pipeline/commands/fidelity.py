"""The `fidelity` command."""

from pathlib import Path

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
from pipeline.config import load_config
from pipeline.console import Console, print_json
from pipeline.run_folder import REPORT, RunFolder
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
        collect_fidelity,
        series_title,
        variants,
        write_fidelity,
    )
    from pipeline.reports.page import describe_dataset
    from pipeline.runner import Runner, Selection

    overrides = set_ or []
    own = load_config(config, [*overrides, "goal=ranking"], name)
    configs = [load_config(config, *changes) for changes in variants(own, overrides)]
    own_device = resolve_device(device)
    keep_freed_memory()
    datasets = load_datasets(own)
    for each in configs:
        check_inputs(each, datasets, own_device)
    store, console = Store(artifacts), Console.choose(quiet, json_)
    rankings: dict[str, Ranking] = {}
    report = runs / f"{own.name}-fidelity"
    with RunFolder(report).claimed(console.log):
        for each in configs:
            runner = Runner(STAGES, each, datasets, store, own_device, console)
            folder = RunFolder.record(runs, each, runner.keys, artifacts, device_name(own_device))
            console.log_file = folder.log
            console.log(f"run {each.name} on {device_name(own_device)} ({own_device})")
            rankings[each.subset.measure] = Ranking.of(each, runner.run(Selection()), store)
        results = collect_fidelity(own, rankings)
        write_fidelity(report, own, rankings, results, describe_dataset(datasets["data"])["line"])
    console.log("")
    for measure, found in results["correlations"].items():
        tau = RankCorrelation(**found)
        console.log(f"Kendall tau {series_title(measure)} against full data: {tau}")
    console.log(f"report      {report / REPORT}")
    if json_:
        print_json(results)
