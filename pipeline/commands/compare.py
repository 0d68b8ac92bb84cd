"""The `compare` command."""

import importlib
import json
from pathlib import Path
from typing import Annotated

import typer

from classification.errors import ConfigError, did_you_mean
from classification.persistence.storage import writable, write_atomically
from pipeline.commands.options import RunNames, Runs, StoreOf
from pipeline.run_folder import RunFolder
from pipeline.stages import landscape, robustness
from pipeline.stages.width import CONTEST

NUMBERS = "comparison.json"

# The results file of each stage, whose tables and figures are made in pipeline.comparisons.
_COMPARED = {
    "robustness": robustness.RESULT,
    "landscape": landscape.RESULT,
    "contest": CONTEST,
}


def compare(
    names: RunNames,
    stage: Annotated[
        str, typer.Option(metavar="|".join(_COMPARED), help="the stage whose results are compared")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of tables and figures")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="write into a folder that is not empty")
    ] = False,
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
) -> None:
    """Compare robustness, loss landscapes or contests of several runs.

    Writes the paper's Tables 4 and 5, its Figure 3, or a table of found, random and published
    architectures over these runs, and comparison.json. Runs that differ only in their seed share a
    row.

    \b
    Example:
      python run_pipeline.py compare vanilla cutmix --stage robustness -o compared
    """
    if stage not in _COMPARED:
        hint = did_you_mean(stage, _COMPARED)
        raise ConfigError(f"--stage: found {stage!r}; {hint}allowed: {', '.join(_COMPARED)}")
    _check_folder(output, overwrite)
    from evaluate.figures.style import save_figure  # slow to import
    from pipeline.comparisons.comparison import gather
    from pipeline.comparisons.numbers import numbers

    compared = importlib.import_module(f"pipeline.comparisons.{stage}")
    folders = [RunFolder.open(runs, name) for name in names]
    comparison = gather(stage, _COMPARED[stage], folders, artifacts)
    figures = {f"{name}.png": figure for name, figure in compared.figures(comparison).items()}
    pages = compared.pages(comparison, list(figures))
    found = numbers(comparison, compared.values_of) | compared.beside(comparison)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    with writable(output, "-o"):
        output.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, output / name)
        for name, page in {**pages, NUMBERS: text + "\n"}.items():
            write_atomically(output / name, page)
    print("\n".join(pages.values()))
    for name in (*pages, *figures, NUMBERS):
        print(output / name)


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Raise ConfigError for a folder that is not empty, unless it may be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"-o: {folder} is a file; allowed: a folder, which is created if absent")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ConfigError(
            f"-o: {folder} is not empty; allowed: an empty or absent folder, or --overwrite"
        )
