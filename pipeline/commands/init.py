"""The `init` command."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from classification.errors import ConfigError
from classification.persistence.storage import writable, write_atomically
from pipeline.commands.options import Quiet
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
    quiet: Quiet = False,
) -> None:
    """Write a config for your folder of images.

    Reads the listing and the headers of some images, and prints the reason for each choice.

    \b
    Example:
      python run_pipeline.py init photos -o photos.yaml
    """
    from classification.data.folder_survey import survey_folder  # slow to import: torch
    from pipeline.initial_config import initial_config

    console = Console.choose(quiet, as_json=False)
    name = _name_of(folder)
    path = Path(f"{name}.yaml") if output is None else output
    if path.is_dir() or (path.exists() and not overwrite):
        what = "a folder" if path.is_dir() else "a file that stands there"
        raise ConfigError(f"-o: found {path}, {what}; allowed: a new file, or --overwrite")
    survey = survey_folder(folder, follow_links=follow_links)
    text = initial_config(survey, name)
    with writable(path.parent, "-o"):
        write_atomically(path, text)
    console.log(f"{folder}: {survey.describe()}")
    for note in survey.notes():
        console.log(note)
    console.log(f"wrote {path}; with the reason for each value; next:")
    for command in ("estimate", "run"):
        console.log("  " + shlex.join(["python", "run_pipeline.py", command, str(path)]))


def _name_of(folder: Path) -> str:
    """The folder's name with what a run's name may not hold replaced."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name)[:_LONGEST]
    return name.lstrip("._-") or "images"
