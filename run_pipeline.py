#!/usr/bin/env python3
"""The command line: commands, exit status, and the one-line messages of errors and Ctrl-C."""

import errno
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from classification.errors import (
    InterruptedRunError,
    PipelineError,
    SharedError,
    WorkError,
    did_you_mean,
    resume_with,
)
from classification.persistence.storage import refusal_of
from pipeline.commands import COMMANDS, load_command, summary_of
from pipeline.console import silence
from pipeline.signals import deferred, stop_as_for_ctrl_c

_LONGEST = 2000  # characters of a message


class Commands(TyperGroup):
    """The commands, imported when called, so that help does not wait for torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        with deferred():  # an interrupted import can raise any exception
            return load_command(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One line per command, read from the source files."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary_of(name)) for name in COMMANDS])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Fail for an unknown command, with a suggestion."""
        if args[0] not in COMMANDS:
            hint = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no such command {args[0]!r}; {hint}allowed: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    help="Run PC-DARTS on a scored subset of your training images, and record the cost.",
    epilog="Exit status: 0 done, 1 work failed, 2 bad input, 130 stopped by you.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _app() -> None:
    pass


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 done, 1 failed, 2 bad input, 130 stopped by the user."""
    stop_as_for_ctrl_c()
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        if "WORLD_SIZE" in os.environ:
            from pipeline.launch import check_command

            check_command(arguments[0])
        return _invoke(arguments)
    except InterruptedRunError as stop:
        return _complain(f"{stop}; {resume_with(stop.again or _again(arguments))}", 130)
    except SharedError:
        return 2  # the first process prints the reason
    except PipelineError as error:
        return _complain(f"error: {error}", 1 if isinstance(error, WorkError) else 2)
    except typer.TyperException as error:
        return _complain(f"error: {error.format_message()}", 2)
    except (KeyboardInterrupt, typer.Abort):
        again = resume_with(_again(arguments))
        return _complain(f"interrupted between stages; no work was lost; {again}", 130)
    except BrokenPipeError:
        silence(sys.stdout)  # the reader, such as `head`, has closed the pipe
        return 0
    except OSError as error:
        refusal = refusal_of(error, Path("standard output"))
        if refusal is None:
            raise
        silence(sys.stdout)
        return _complain(f"error: {refusal}", 2 if error.errno == errno.ENAMETOOLONG else 1)


def _again(arguments: list[str]) -> str:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "the same torchrun command"
    return shlex.join(["python", "run_pipeline.py", *arguments])


def _invoke(arguments: list[str]) -> int:
    result: Any = app(arguments, prog_name="run_pipeline.py", standalone_mode=False)
    sys.stdout.flush()
    if result == 130:  # typer's status for Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _complain(message: str, status: int) -> int:
    line = " ".join(message.split())
    # Quoted input may contain terminal escape sequences.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    try:
        print(shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…", file=sys.stderr)
    except OSError:
        silence(sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
