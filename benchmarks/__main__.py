"""All benchmarks for a CPU, each in a process of its own, with one table of their main figures.

    python -m benchmarks [--only NAME ...] [--output FILE]
        [--reference PC-DARTS] [--against CHECKOUT] [--folder IMAGES]

The table has one group of rows a script: medians and ranges over its rounds, ratios first. --output
writes it after every script. The other options are passed to the scripts that take them; rows that
need one name it. Status 1 if a script failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from benchmarks.measurement import Row
from pipeline.device import device_name


@dataclass(frozen=True)
class Script:
    """A module of this package with its arguments, and the options passed on to it."""

    name: str
    arguments: str = ""
    passed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.arguments}".rstrip()

    def command(self) -> list[str]:
        """Return the command without the options passed on."""
        return [sys.executable, "-u", "-m", f"benchmarks.{self.name}", *self.arguments.split()]


@dataclass(frozen=True)
class Result:
    """What a script has reported, and its exit status."""

    script: Script
    status: int
    rows: list[Row]


SCRIPTS = (  # the longest last
    Script("startup", passed=("against", "folder")),
    Script("search", "--batch-size 64 --repeats 3", ("reference",)),
    Script("search", "--batch-size 32 --channels 8 --cells 4 --side 8", ("reference",)),
    Script("versions", passed=("against",)),
    Script("scoring", "--models resnet8"),
    Script("mixing", "--models resnet8"),
    Script("mixing", "--alone --batch-size 256 --repeats 50"),
    Script("coreset"),
    Script("choosing"),
    Script("sweep"),
    Script("quickstart", passed=("against",)),
    Script("checkpoint", "--repeats 3"),
    Script("estimate", "--device cpu --seconds 15 --set search.epochs=20 --set retrain.epochs=5"),
    Script("stage_costs", "--repeats 3"),
)


def main() -> int:
    """Run the scripts, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(dict.fromkeys(script.name for script in SCRIPTS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help=", ".join(names))
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the table to FILE")
    parser.add_argument("--reference", metavar="DIR", help="the PC-DARTS checkout")
    parser.add_argument("--against", metavar="DIR", help="another checkout of this repository")
    parser.add_argument("--folder", metavar="DIR", help="a folder of images")
    given = parser.parse_args()
    unknown = [name for name in given.only or () if name not in names]
    if unknown:
        print(f"--only: found {unknown[0]!r}; allowed: {', '.join(names)}", file=sys.stderr)
        return 2
    results: list[Result] = []
    for script in SCRIPTS:
        if given.only is None or script.name in given.only:
            print(f"\n{script}", flush=True)
            results.append(run(script, given))
            if given.output is not None:
                given.output.write_text(as_markdown(results))
    print(f"\n{as_markdown(results)}", end="")
    return int(any(result.status for result in results))


def run(script: Script, given: argparse.Namespace) -> Result:
    """Run a script, whose output is not redirected, and read the rows of its record."""
    asked = {name: getattr(given, name) for name in script.passed}
    options = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        done = subprocess.run([*script.command(), *options, "--json", str(record)])
        rows = json.loads(record.read_text())["summary"] if record.exists() else []
    return Result(script, done.returncode, [Row(**row) for row in rows])


def as_markdown(results: list[Result]) -> str:
    """Format the rows of all scripts as one table, figures within 80 characters."""
    columns = ("what", "median", "range", "n")
    measured = [row.cells() for result in results for row in result.rows if row.values]
    widths = [max(map(len, column)) for column in zip(columns, *measured, strict=True)]

    def line(what: str, *figures: str) -> str:
        aligned = [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
        return f"| {' | '.join([what.ljust(widths[0]), *aligned])} |"

    lines = [line(*columns), "| --- | ---: | ---: | ---: |"]
    for result in results:
        failed = f"failed, status {result.status}" if result.status else ""
        lines.append(f"| `{result.script}` | {failed} | | |")
        for row in result.rows:
            lines.append(line(*row.cells()) if row.values else f"| {' | '.join(row.cells())} |")
    head = (
        f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, {date.today()}. Each "
        "group is `python -m benchmarks.` with the script and arguments in its first line. Medians "
        "and ranges of n rounds; a value without a unit is a ratio."
    )
    return textwrap.fill(head, 80) + "\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
