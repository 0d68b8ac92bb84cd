"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file; see configs/")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. search.epochs=10"),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="name of a run under --runs, or its path")
]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="names or paths of runs")]
Runs = Annotated[Path, typer.Option(help="folder of runs")]
Artifacts = Annotated[Path, typer.Option(help="folder of artifacts, shared by runs")]
StoreOf = Annotated[
    Path | None, typer.Option(help="folder of artifacts (default: the one the run used)")
]
Name = Annotated[str | None, typer.Option(help="name of the run (default: the config's)")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print errors only")]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON on standard output, messages on standard error"),
]
Picture = Annotated[Path, typer.Option("-o", "--output", help=".png, .svg or .pdf")]
