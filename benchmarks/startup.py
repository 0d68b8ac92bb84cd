"""Seconds of commands that start no work, and of reading a folder of images, as whole processes.

    python -m benchmarks.startup [--run RUN] [--runs runs] [--artifacts artifacts]
        [--against CHECKOUT] [--folder IMAGES]

RUN is a finished run, by default that of `make quickstart`. With --against, another checkout of
this repository runs each command in turn with this one; ratios are within a round. A folder is
read with an empty cache, which keeps the decoded images, and again from the user's cache; these
seconds are without the start of the process.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measurement import CONFIGS, Row, options, ratios, write_record

_ROOT = Path(__file__).parents[1]
_CPU = torch.device("cpu")
Figures = dict[str, list[list[float]]]  # seconds in each checkout and round
_FIRST, _AGAIN = "folder, first read", "folder, read again"
_READ = """
import sys, time
from pathlib import Path
from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
begun = time.perf_counter()
load_dataset(DataConfig(kind="folder", root=Path(sys.argv[1]))).content_hash
print(time.perf_counter() - begun)
"""
_READ_FIRST = f"""
import os, tempfile
cache = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = cache.name
{_READ}"""


def main() -> None:
    """Print the median of each command, its range, and the median ratio to the other checkout."""
    given = options(
        __doc__,
        run="quickstart",
        runs=Path("runs"),
        artifacts=Path("artifacts"),
        against="",
        folder="",
        repeats=5,
    )
    asked = given.parse_args()
    runs = ["--runs", str(asked.runs.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        of_run = {
            "status": [asked.run, *runs, "--artifacts", str(asked.artifacts.resolve())],
            "plot": [asked.run, *runs, "-o", f"{folder}/plot.png"],
        }
        program = {"config": [str(CONFIGS / "quickstart.yaml")], "run --help": []}
        if (asked.runs / asked.run).is_dir():
            program |= of_run
        commands = {
            name: ["run_pipeline.py", *name.split(), *words] for name, words in program.items()
        }
        if asked.folder:
            images = str(Path(asked.folder).resolve())
            commands |= {_FIRST: ["-c", _READ_FIRST, images], _AGAIN: ["-c", _READ, images]}
        places = [_ROOT] + ([Path(asked.against).resolve()] if asked.against else [])
        figures: Figures = {name: [[] for _ in places] for name in commands}
        for turn in range(asked.repeats + 1):
            for name, words in commands.items():
                for place, found in zip(places, figures[name], strict=True):
                    seconds = _seconds(words, place)
                    if turn:
                        found.append(seconds)
    for name, timed in figures.items():
        parts = [f"{name:18}"]
        for each in timed:
            parts.append(f"{statistics.median(each):7.2f} s ({min(each):.2f} to {max(each):.2f})")
        if asked.against:
            parts.append(f"{statistics.median(ratios(*timed[::-1])):5.1f} times as long")
        print("  ".join(parts))
    write_record(asked.json, _CPU, asked, headline(figures, [*of_run]), seconds=figures)


def headline(figures: Figures, of_run: list[str]) -> list[Row]:
    """Return ratios to the other checkout and of the readings of a folder, then seconds."""
    rows = [
        Row(f"{name}, this / other checkout", ratios(*found))
        for name, found in figures.items()
        if len(found) > 1
    ] or [Row("commands, this / other checkout", needs="--against")]
    if _AGAIN in figures:
        rows.append(Row(f"{_AGAIN} / first read", ratios(figures[_AGAIN][0], figures[_FIRST][0])))
    else:
        rows.append(Row(f"{_AGAIN} / first read", needs="--folder"))
    rows += [Row(name, found[0], "s") for name, found in figures.items()]
    return rows + [Row(name, needs="--run") for name in of_run if name not in figures]


def _seconds(words: list[str], checkout: Path) -> float:
    """Return the seconds of a process, or those that a program of -c prints."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, *words]
    begun = time.perf_counter()
    printed = subprocess.check_output(command, cwd=checkout, env=environment)
    return float(printed) if words[0] == "-c" else time.perf_counter() - begun


if __name__ == "__main__":
    main()
