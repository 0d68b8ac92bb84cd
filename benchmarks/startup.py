"""Seconds of commands that start no work, and of reading a folder of images, as whole processes.

    python -m benchmarks.startup [--run RUN] [--runs runs] [--artifacts artifacts]
        [--against CHECKOUT] [--folder IMAGES]

RUN is a finished run, by default that of `make quickstart`. With --against, another checkout of
this repository runs each command in turn with this one; ratios are within a round. A folder is
read with an empty cache, which keeps the decoded images, and again from the user's cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.measurement import CONFIGS, Row, interleaved, options, ratios, write_record

_ROOT = Path(__file__).parents[1]
_CPU = torch.device("cpu")
_FIRST, _AGAIN = "folder, first read", "folder, read again"
_READ = """
from pathlib import Path; import sys
from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
load_dataset(DataConfig(kind="folder", root=Path(sys.argv[1]))).content_hash
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
        program = {"config": [str(CONFIGS / "quickstart.yaml")], "run": ["--help"]}
        if (asked.runs / asked.run).is_dir():
            program |= of_run
        commands = {name: ["run_pipeline.py", name, *words] for name, words in program.items()}
        if asked.folder:
            images = str(Path(asked.folder).resolve())
            commands |= {_FIRST: ["-c", _READ_FIRST, images], _AGAIN: ["-c", _READ, images]}
        places = [_ROOT] + ([Path(asked.against).resolve()] if asked.against else [])
        seconds = interleaved(
            {
                (name, place): partial(_run, words, place)
                for name, words in commands.items()
                for place in places
            },
            asked.repeats,
            _CPU,
        )
    figures = {name: [seconds[name, place] for place in places] for name in commands}
    for name, found in figures.items():
        parts = [f"{name:18}"]
        for each in found:
            parts.append(f"{statistics.median(each):7.2f} s ({min(each):.2f} to {max(each):.2f})")
        if asked.against:
            parts.append(f"{statistics.median(ratios(*found[::-1])):5.1f} times as long")
        print("  ".join(parts))
    write_record(asked.json, _CPU, asked, headline(figures, [*of_run]), seconds=figures)


def headline(figures: dict[str, list[list[float]]], of_run: list[str]) -> list[Row]:
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


def _run(words: list[str], checkout: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, *words]
    subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
