"""The `report` command."""

from collections.abc import Mapping
from pathlib import Path

from classification.datasets import ImageDataset
from classification.errors import ArtifactError, DataError
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
    datasets = load_datasets(config)
    _check_images(datasets, made)
    console = Console.choose(quiet, json_)
    results = write_run_report(folder, config, datasets, made, store, console)
    if json_:
        print_json(results)


def _check_images(datasets: Mapping[str, ImageDataset], made: Mapping[str, Artifact]) -> None:
    """Refuse to show images beside what was made of others."""
    for stage, artifact in made.items():
        for name, dataset in datasets.items():
            source = artifact.manifest["inputs"].get(name)
            if source is not None and source["content_hash"] != dataset.content_hash:
                raise DataError(
                    f"{name}: the images are not those that {stage} was made of; allowed: the same "
                    "ones, or `run`, which makes it of these"
                )
