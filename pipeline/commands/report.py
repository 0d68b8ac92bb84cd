"""The `report` command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from classification.errors import ArtifactError, ConfigError
from pipeline.commands.options import Json, Quiet, RunNames, Runs, StoreOf
from pipeline.console import Console, print_json
from pipeline.run_folder import PARTIAL, RunFolder
from pipeline.store.store import store_of

Page = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", help="the page of several runs, .html (default: RUNS/comparison.html)"
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace a file that this command did not write")
]

Published = Annotated[
    bool,
    typer.Option(
        "--published",
        help="add the paper's Table 6, networks on ImageNet, to a run on other images",
    ),
]


def report(
    names: RunNames,
    output: Page = None,
    overwrite: Overwrite = False,
    published: Published = False,
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Rewrite a run's report, or compare several runs on one page.

    \b
    Example:
      python run_pipeline.py report quickstart
      python run_pipeline.py report quickstart quickstart-1 -o comparison.html
    """
    from pipeline.comparisons.searches import (  # slow to import
        COMPARISON,
        check_output,
        write_comparison,
    )

    folders = [RunFolder.open(runs, name) for name in names]
    console = Console.choose(quiet, json_)
    if published and len(folders) > 1:
        raise ConfigError("--published: found with several runs; allowed: with one")
    if len(folders) > 1:
        page = output or runs / COMPARISON
        check_output(page, overwrite)
        compared = write_comparison(page, folders)
        console.log(str(page))
        if json_:
            print_json({"page": str(page), "runs": compared})
        return
    if output is not None:
        raise ConfigError(
            "--output: found with one run, whose report is in its folder; allowed: with several"
        )
    results = _write_again(folders[0], names[0], artifacts, console, published)
    if json_:
        print_json(results)


def _write_again(
    folder: RunFolder, name: str, artifacts: Path | None, console: Console, published: bool
) -> Mapping[str, object] | None:
    from pipeline.inputs import load_datasets
    from pipeline.reports.partial import check_images, draw_partial, write_partial_report
    from pipeline.reports.run import write_run_report

    config, manifest = folder.config(), folder.manifest()
    store = store_of(manifest, artifacts)
    found = {stage: store.find(stage, key) for stage, key in manifest["stages"].items()}
    made = {stage: artifact for stage, artifact in found.items() if artifact is not None}
    missing = [stage for stage in found if stage not in made]
    if not made:
        raise ArtifactError(
            f"{name}: the run has no {missing[0]} yet, so there is nothing to report"
        )
    searched = config.goal == "network"
    if published and (missing or not searched):
        reason = "is not finished" if searched else f"has the goal {config.goal}"
        raise ConfigError(f"--published: {name} {reason}; allowed: a finished run of a network")
    if missing:
        text = write_partial_report(
            folder,
            config.name,
            made,
            store,
            missing,
            draw_partial(folder, config, made, load_datasets),
        )
        console.log(f"{text}\n{folder.report / PARTIAL}")
        return {"name": config.name, "finished": list(made), "missing": missing}
    datasets = load_datasets(config)
    check_images(datasets, made)
    return write_run_report(
        folder, config, datasets, made, store, console, again=True, published=published
    )
