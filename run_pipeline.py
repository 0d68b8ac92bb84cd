"""The command line: `python run_pipeline.py --help`."""

import shlex
import signal
import sys
from typing import Any

import typer

from classification.errors import PipelineError, SharedError
from pipeline.commands.config import config
from pipeline.commands.fidelity import fidelity
from pipeline.commands.graph import graph
from pipeline.commands.plot import plot
from pipeline.commands.report import report
from pipeline.commands.run import run
from pipeline.commands.show import show
from pipeline.commands.status import status
from pipeline.commands.sweep import sweep
from pipeline.commands.table import table
from pipeline.launch import check_command, launched_processes
from pipeline.runner import InterruptedRunError

app = typer.Typer(
    help="Architecture search on the most uncertain tenth of your images, with its cost counted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run, status, report, plot, table, show, sweep, fidelity, graph, config):
    app.command()(command)


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
