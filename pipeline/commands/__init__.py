"""The commands, one per module, in the order of the help; imported when called."""

import ast
import importlib
from pathlib import Path
from typing import Any

import typer

COMMANDS = (
    "init",
    "estimate",
    "run",
    "status",
    "report",
    "export",
    "predict",
    "plot",
    "table",
    "compare",
    "show",
    "sweep",
    "fidelity",
    "graph",
    "config",
    "verify",
    "clean",
)


def load_command(name: str) -> Any:
    """Return the click command made from the function `name` in the module `name`."""
    module = importlib.import_module(f"pipeline.commands.{name}")
    own = typer.Typer(add_completion=False, rich_markup_mode=None)
    own.command(name)(getattr(module, name))
    return typer.main.get_command(own)


def summary_of(name: str) -> str:
    """Return the first line of a command's help, read from its source without importing it."""
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
    found = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    return (ast.get_docstring(found) or "").partition("\n")[0]
