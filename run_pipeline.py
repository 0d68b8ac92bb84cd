"""The command line: `python run_pipeline.py --help`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from classification.errors import PipelineError, SharedError, WorkError
from classification.storage import refusal_of
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
from pipeline.console import silence
from pipeline.launch import check_command, launched_processes
from pipeline.runner import InterruptedRunError
from pipeline.signals import stop_as_for_ctrl_c

app = typer.Typer(
    help="Architecture search on the most uncertain tenth of your images, with its cost counted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (run, status, report, plot, table, show, sweep, fidelity, graph, config):
    app.command()(command)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 work failed, 2 bad input, 130 stopped by the person."""
    stop_as_for_ctrl_c()
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
        return _complain(f"error: {error}", 1 if isinstance(error, WorkError) else 2)
    except typer.TyperException as error:
        return _complain(f"error: {error.format_message()}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted before any stage began; nothing was lost", 130)
    except BrokenPipeError:
        silence(sys.stdout)  # who read it, such as `head`, has had enough
        return 0
    except OSError as error:
        refusal = refusal_of(error, Path("standard output"))
        if refusal is None:
            raise
        silence(sys.stdout)
        return _complain(f"error: {refusal}", 1)


def _invoke(arguments: list[str]) -> int:
    result: Any = app(arguments, prog_name="run_pipeline.py", standalone_mode=False)
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _complain(message: str, status: int) -> int:
    try:
        print(" ".join(message.split()), file=sys.stderr)
    except OSError:
        silence(sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
