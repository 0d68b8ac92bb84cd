"""The `init` command."""

import re
import shlex
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import typer

from classification.durations import format_duration, three_figures
from classification.errors import ConfigError
from classification.persistence.storage import writable, write_atomically
from pipeline.commands.options import Device, Quiet
from pipeline.console import Console

_LONGEST = 100  # characters of a run's name


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="train/<class>/* beside test/ or val/")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="the config to write (default: ./<name of DIR>.yaml)"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace an existing file")
    ] = False,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="accept links that lead out of DIR")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="time for the complete run: 30m, 2h, … (default: 30m; on a GPU 2h)"),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write a config for your images and your time.

    Reads the images and measures some steps on the device. Each choice has its reason as a comment,
    and what a larger budget would buy.

    \b
    Example:
      python run_pipeline.py init photos -o photos.yaml --budget 30m
    """
    from classification.data.folder_survey import survey_folder  # slow to import: torch
    from pipeline.device import device_name, keep_freed_memory, resolve_device
    from pipeline.initial.budget import DEFAULT, fit_to_budget, parse_budget, planned_seconds

    own_device = resolve_device(device)
    allowed = DEFAULT[own_device.type] if budget is None else parse_budget(budget)
    console = Console.choose(quiet, as_json=False)
    name = _name_of(folder)
    path = Path(f"{name}.yaml") if output is None else output
    if path.is_dir() or (path.exists() and not overwrite):
        what = "a folder" if path.is_dir() else "an existing file"
        raise ConfigError(f"-o: found {path}, {what}; allowed: a new file, or --overwrite")
    survey = survey_folder(folder, follow_links=follow_links)
    with writable(path.parent, "-o"), TemporaryFile(dir=path.parent):
        pass  # refused here, not after the measuring
    console.log(f"{folder}: {survey.describe()}")
    for note in survey.notes():
        console.log(note)
    chosen = "; choose another with --budget" if budget is None else ""
    console.log(f"budget {format_duration(allowed)}{chosen}")
    console.log(
        f"measuring on {device_name(own_device)} for about "
        f"{planned_seconds(survey):.0f} s, or some minutes if other programs run; "
        "the budget does not include this time"
    )
    keep_freed_memory()
    fitted = fit_to_budget(survey, name, allowed, own_device, console)
    with writable(path.parent, "-o"):
        write_atomically(path, fitted.text)
    console.log(fitted.expected.expected)
    if fitted.expected.is_busy:
        console.log(
            f"{fitted.expected.caution}; run `init` again when it is free, with --overwrite: it "
            "can then choose longer training"
        )
    number = len(survey.classes)
    console.log(
        f"accuracy: known after the run; guessing among {number:,} classes is right for "
        f"{three_figures(100 / number)} % of the images"
    )
    console.log(f"wrote {path}, with the reason for each value. Next:")
    for words in (["estimate", str(path)], ["run", str(path)], ["predict", name, "IMAGE"]):
        console.log("  " + shlex.join(["python", "run_pipeline.py", *words]))


def _name_of(folder: Path) -> str:
    """The folder's name with what a run's name may not hold replaced."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name)[:_LONGEST]
    return name.lstrip("._-") or "images"
