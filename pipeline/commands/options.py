"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, see configs/")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. search.epochs=10"),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="name under --runs, or its path")]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="names or paths of runs")]
Runs = Annotated[Path, typer.Option(help="folder of runs")]
Artifacts = Annotated[Path, typer.Option(help="folder of artifacts, shared by runs")]
StoreOf = Annotated[
    Path | None, typer.Option(help="folder of artifacts; the one the run was made with")
]
Name = Annotated[str | None, typer.Option(help="the run's name; the config's if absent")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but what went wrong")]
Json = Annotated[
    bool,
    typer.Option("--json", help="a JSON document on standard output, messages on standard error"),
]
Picture = Annotated[Path, typer.Option("-o", "--output", help=".png, .svg or .pdf")]
