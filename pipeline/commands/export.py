"""The `export` command."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classification.errors import ConfigError, did_you_mean
from classification.extras import require
from pipeline.commands.options import RunName, Runs, StoreOf
from pipeline.run_folder import RunFolder
from pipeline.store.store import store_of

if TYPE_CHECKING:
    from pipeline.exports.forms import Form
    from pipeline.exports.recorded_run import RecordedRun

NAMES = ("subset", "genotype", "onnx", "safetensors", "timm", "hub")  # of FORMS, slow to import


def export(
    run: RunName,
    as_: Annotated[str, typer.Option("--as", metavar="FORM", help=", ".join(NAMES))],
    output: Annotated[Path, typer.Option("-o", "--output", help="a folder; for onnx a file")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace an earlier export")
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="operator set of the ONNX file: 18 to 25 (default: 20)"),
    ] = None,
    runs: Runs = Path("runs"),
    artifacts: StoreOf = None,
) -> None:
    """Export a run's subset, genotype or network for other tools.

    \b
    Example:
      python run_pipeline.py export quickstart --as timm -o exported/quickstart
      python run_pipeline.py export quickstart --as onnx -o quickstart.onnx
    """
    from pipeline.exports.destination import check_destination, published
    from pipeline.exports.recorded_run import RecordedRun

    form = _form(as_)
    if opset is not None:
        form = _with_opset(form, as_, opset)
    folder = RunFolder.open(runs, run)
    recorded = RecordedRun(folder, store_of(folder.manifest(), artifacts))
    _check_goal(recorded, form)
    name = recorded.config.name
    if form.suffix and output.suffix != form.suffix:
        raise ConfigError(f"-o: found {str(output)!r}; allowed: a name that ends in {form.suffix}")
    check_destination(output, overwrite, form.files and form.files(name))
    require(f"--as {as_}", "export", *form.packages)
    with published(output) as path:
        form.write(recorded, path)
    print(output)
    if form.advice is not None:
        print(form.advice(name, output), file=sys.stderr)


def _form(name: str) -> Form:
    from pipeline.exports.forms import FORMS

    if name not in FORMS:
        hint = did_you_mean(name, FORMS)
        raise ConfigError(f"--as: found {name!r}; {hint}allowed: {', '.join(FORMS)}")
    return FORMS[name]


def _with_opset(form: Form, name: str, opset: int) -> Form:
    from pipeline.exports.onnx import OPSETS, write_onnx

    if form.write is not write_onnx:
        raise ConfigError(f"--opset: found with --as {name}; allowed: with --as onnx")
    if opset not in OPSETS:
        raise ConfigError(f"--opset: found {opset}; allowed: {OPSETS[0]} to {OPSETS[-1]}")
    return replace(form, write=partial(write_onnx, opset=opset))


def _check_goal(run: RecordedRun, form: Form) -> None:
    """Raise ConfigError if runs of this goal do not make what the form exports."""

    from pipeline.exports.forms import FORMS

    def makes(form: Form) -> bool:
        return form.stage(run.config) in run.stages

    if not makes(form):
        allowed = ", ".join(name for name, each in FORMS.items() if makes(each)) or "none"
        raise ConfigError(
            f"--as: {run.config.name} does not make it, because {run.why_absent}; "
            f"allowed: {allowed}"
        )
