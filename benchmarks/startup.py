"""Seconds of commands that start no work, and of reading a folder of images, as whole processes.

    python -m benchmarks.startup [--run RUN] [--runs runs] [--artifacts artifacts]
        [--against CHECKOUT] [--folder IMAGES]

RUN is a finished run, by default that of `make quickstart`. With --against, another checkout of
this repository runs each command in turn with this one; ratios are within a round.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.measurement import options, write_record

_ROOT = Path(__file__).parents[1]
_READ = """
from pathlib import Path; import sys
from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
load_dataset(DataConfig(kind="folder", root=Path(sys.argv[1]))).content_hash
"""


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
    places = [_ROOT] + ([Path(asked.against).resolve()] if asked.against else [])
    runs = ["--runs", str(asked.runs.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        config = str(asked.runs.resolve() / asked.run / "config.yaml")
        plot = ["plot", asked.run, *runs, "-o", f"{folder}/plot.png"]
        program = {
            "status": ["status", asked.run, *runs, "--artifacts", str(asked.artifacts.resolve())],
            "config": ["config", config],
            "plot": plot,
            "run --help": ["run", "--help"],
        }
        commands = {name: ["run_pipeline.py", *words] for name, words in program.items()}
        if asked.folder:
            commands["read a folder"] = ["-c", _READ, str(Path(asked.folder).resolve())]
        figures = {name: _measure(words, places, asked.repeats) for name, words in commands.items()}
    for name, seconds in figures.items():
        parts = [f"{name:14}"]
        for each in seconds:
            parts.append(f"{statistics.median(each):7.2f} s ({min(each):.2f} to {max(each):.2f})")
        if len(seconds) > 1:
            ratios = [other / own for own, other in zip(*seconds, strict=True)]
            parts.append(f"{statistics.median(ratios):5.1f} times as long")
        print("  ".join(parts))
    write_record(asked.json, torch.device("cpu"), asked, seconds=figures)


def _measure(words: list[str], places: list[Path], repeats: int) -> list[list[float]]:
    """Seconds of each round in each checkout, after a round that is not counted."""
    seconds: list[list[float]] = [[] for _ in places]
    for number in range(repeats + 1):
        for place, found in zip(places, seconds, strict=True):
            begin = time.perf_counter()
            environment = os.environ | {"PYTHONPATH": str(place)}
            command = [sys.executable, *words]
            subprocess.run(
                command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL
            )
            if number:
                found.append(time.perf_counter() - begin)
    return seconds


if __name__ == "__main__":
    main()
