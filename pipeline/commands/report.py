"""The `report` command."""

from pathlib import Path

from classification.errors import ArtifactError
from pipeline.commands.options import Json, Quiet, RunName, Runs, StoreOf
from pipeline.console import Console, print_json
from pipeline.inputs import load_datasets
from pipeline.run_folder import RunFolder
from pipeline.run_report import write_run_report
from pipeline.store import Artifact, store_of


def report(
    run: RunName,
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write a finished run's report again from its artifacts.

    \b
    Example:
      python run_pipeline.py report quickstart
    """
    folder = RunFolder.open(runs, run)
    config, manifest = folder.config(), folder.manifest()
    store = store_of(manifest, artifacts)
    made: dict[str, Artifact] = {}
    for stage, key in manifest["stages"].items():
        artifact = store.find(stage, key)
        if artifact is None:
            raise ArtifactError(f"{run}: the run has no {stage} yet, so there is nothing to report")
        made[stage] = artifact
    console = Console.choose(quiet, json_)
    results = write_run_report(folder, config, load_datasets(config), made, store, console)
    if json_:
        print_json(results)
