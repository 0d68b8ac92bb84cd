"""The command line: `python run_pipeline.py --help`."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from classification.errors import PipelineError, SharedError
from pipeline import commands
from pipeline.fidelity import fidelity as rank_architectures
from pipeline.launch import check_command, launched_processes
from pipeline.runner import InterruptedRunError, Selection
from pipeline.show import show as show_mixes
from pipeline.study_commands import run_sweep

app = typer.Typer(
    help="Architecture search on the most uncertain tenth of your images, with its cost counted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, see configs/")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. search.epochs=10"),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="name under --runs, or its path")]
Runs = Annotated[Path, typer.Option(help="folder of runs")]
Artifacts = Annotated[Path, typer.Option(help="folder of artifacts, shared by runs")]
StoreOf = Annotated[
    Path | None, typer.Option(help="folder of artifacts; the one the run was made with")
]
Name = Annotated[str | None, typer.Option(help="the run's name; the config's if absent")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Until = Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")]
Only = Annotated[
    str | None, typer.Option(metavar="STAGE", help="this stage, from the artifacts that stand")
]
Force = Annotated[str | None, typer.Option(metavar="STAGE", help="make this stage again")]


@app.command()
def run(
    config: ConfigPath,
    set_: Overrides = None,
    name: Name = None,
    until: Until = None,
    only: Only = None,
    force: Force = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print what would run, and why")
    ] = False,
) -> None:
    """Run a config, or go on with it: what is already made is reused.

    \b
    Example:
      python run_pipeline.py run configs/quickstart.yaml --set seed=1 --name quickstart-1
      python run_pipeline.py run configs/classification/cifar100-small.yaml --device cpu
    """
    commands.run(
        config, set_ or [], name, Selection(until, only, force), device, artifacts, runs, dry_run
    )


@app.command()
def status(run: RunName, runs: Runs = Path("runs"), artifacts: StoreOf = None) -> None:
    """Show each stage of a run: reused, done, interrupted, pending; and the cost so far.

    \b
    Example:
      python run_pipeline.py status quickstart
    """
    commands.status(run, runs, artifacts)


@app.command()
def report(run: RunName, runs: Runs = Path("runs"), artifacts: StoreOf = None) -> None:
    """Write a finished run's report again from its artifacts.

    \b
    Example:
      python run_pipeline.py report quickstart
    """
    commands.report(run, runs, artifacts)


@app.command()
def plot(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="names or paths of runs")],
    output: Annotated[Path, typer.Option("-o", "--output", help=".png, .svg or .pdf")],
    x: Annotated[str, typer.Option(metavar="search|total", help="which cost")] = "search",
    runs: Runs = Path("runs"),
) -> None:
    """Draw accuracy against GPU-hours over runs: a curve a series, error bars over seeds.

    \b
    Example:
      python run_pipeline.py plot quickstart quickstart-1 -o accuracy.png --x total
    """
    commands.plot(names, output, x, runs)


@app.command()
def table(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="names or paths of runs")],
    runs: Runs = Path("runs"),
) -> None:
    """Print classifier runs side by side: a row a setting, mean ± std over its seeds.

    \b
    Example:
      python run_pipeline.py table vanilla cutmix dcutmix dcutmix-seed1
    """
    commands.table(names, runs)


@app.command()
def show(
    config: ConfigPath,
    output: Annotated[Path, typer.Option("-o", "--output", help=".png, .svg or .pdf")],
    mixer: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="a kind of scorer.mixing, again for each; the config's"),
    ] = None,
    set_: Overrides = None,
    columns: Annotated[int, typer.Option(help="mixes of each, 1 to 6")] = 4,
    artifacts: Artifacts = Path("artifacts"),
) -> None:
    """Draw what mixers make of the images: boxes, saliency, soft labels.

    \b
    Example:
      python run_pipeline.py show configs/quickstart.yaml --mixer dcutmix --mixer mixup -o m.png
    """
    show_mixes(config, set_ or [], mixer or [], output, columns, artifacts)


@app.command()
def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="YAML, see configs/studies/")],
    seeds: Annotated[int | None, typer.Option(help="of each cell; the study's if absent")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="stages made at the same time: 1, or what the Ray cluster has room for"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="a running cluster: HOST:PORT, ray://HOST:PORT, auto"),
    ] = None,
    set_: Overrides = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what stands, cell by cell")] = (
        False
    ),
) -> int:
    """Run a study, or go on with it: a grid of configs, seeds, one figure with mean, std and n.

    \b
    Example:
      python run_pipeline.py sweep configs/studies/figure5a-small.yaml --seeds 3 --jobs 2
      python run_pipeline.py sweep configs/studies/figure5a.yaml --ray head:6379
    """
    return run_sweep(study, set_ or [], seeds, jobs, device, artifacts, runs, dry_run, ray)


@app.command()
def fidelity(
    config: ConfigPath,
    set_: Overrides = None,
    name: Name = None,
    device: Device = "auto",
    artifacts: Artifacts = Path("artifacts"),
    runs: Runs = Path("runs"),
) -> None:
    """Rank random architectures on the subset and on all images: how far do they agree?

    \b
    Example:
      python run_pipeline.py fidelity configs/quickstart.yaml --set fidelity.architectures=8
    """
    rank_architectures(config, set_ or [], name, device, artifacts, runs)


@app.command()
def graph(
    config: ConfigPath,
    set_: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="also as a picture: .png, .svg, .pdf")
    ] = None,
) -> None:
    """Print the stages a config runs and what each needs.

    \b
    Example:
      python run_pipeline.py graph configs/quickstart.yaml -o graph.png
    """
    commands.graph(config, set_ or [], output)


@app.command("config")
def config_(
    config: ConfigPath,
    set_: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="the JSON schema, for editors")] = False,
) -> None:
    """Print the resolved config: defaults, base files and overrides applied.

    \b
    Example:
      python run_pipeline.py config configs/quickstart.yaml --set search.epochs=10
    """
    commands.show_config(config, set_ or [], schema)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 work failed, 2 bad input, 130 stopped by the person."""
    signal.signal(signal.SIGTERM, _terminate)
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        check_command(arguments[0])
        return _invoke(arguments)
    except InterruptedRunError as stop:
        again = shlex.join(["python", "run_pipeline.py", *arguments])
        if launched_processes() > 1:
            return _complain(f"{stop}; to go on: the same torchrun command", 130)
        return _complain(f"{stop}; to go on: {again}", 130)
    except SharedError:
        return 2  # the first process says why
    except PipelineError as error:
        return _complain(f"error: {error}", 2)
    except typer.TyperException as error:
        return _complain(f"error: {error.format_message()}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted before any stage began; nothing was lost", 130)


def _invoke(arguments: list[str]) -> int:
    result: Any = app(arguments, prog_name="run_pipeline.py", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _terminate(signum: int, frame: Any) -> None:
    """SIGTERM is what a cluster sends before it takes the machine: stop as for Ctrl-C."""
    raise KeyboardInterrupt


def _complain(message: str, status: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
