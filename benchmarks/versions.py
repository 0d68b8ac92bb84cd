"""Time of search iterations and training steps under several interpreters, side by side.

    python -m benchmarks.versions --python OTHER/bin/python [--json FILE]

The interpreters have, for example, different versions of torch. Each is a process that waits for
its turn, so that in every round all run one after the other. Prints medians and, by round, this
interpreter's time over each other one's. One thread.
"""

import os
import statistics
import subprocess
import sys
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.measurement import (
    CONFIGS,
    LEARNING_RATE,
    options,
    random_batch,
    seconds_of,
    write_record,
)
from benchmarks.search import Ours, iterate
from classification.models import build_classifier
from classification.training.schedules import make_sgd
from classification.training.trainer import to_device
from pcdarts.search import SearchConfig
from pcdarts.supernet import Supernet
from pipeline.device import keep_freed_memory
from pipeline.reports.page import markdown_table

_CPU = torch.device("cpu")
_NUM_CLASSES = 10


class Interpreter:
    """A process of `python` that takes one measurement each time it is asked."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.versions", "--answer"],
            cwd=CONFIGS.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._line()

    def measure(self) -> list[float]:
        """Return the seconds of each part."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return [float(word) for word in self._line().split()]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def parts() -> dict[str, Any]:
    """Return what is timed, by name."""
    torch.manual_seed(0)
    made: dict[str, Any] = {}
    for channels, cells, batch, side in ((8, 5, 24, 8), (16, 8, 64, 32)):
        config = SearchConfig(channels=channels, cells=cells, learning_rate=LEARNING_RATE)
        supernet, data = Ours(Supernet, config, _CPU), random_batch(batch, _NUM_CLASSES, side, _CPU)
        name = f"search iteration, {channels} channels, {cells} cells, {batch} of {side}×{side}"
        made[name] = lambda supernet=supernet, data=data: iterate(supernet, *data)
    model = to_device(build_classifier("resnet9", _NUM_CLASSES), _CPU).train()
    optimizer = make_sgd(list(model.parameters()), LEARNING_RATE, 0.9, 5e-4)
    images, labels = random_batch(128, _NUM_CLASSES, 32, _CPU)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    made["ResNet-9 step, 128 of 32×32"] = step
    return made


def answer() -> None:
    """Measure each part once for every line of standard input."""
    keep_freed_memory()
    runs = parts()
    for run in runs.values():
        run()
    print(torch.__version__, flush=True)
    for _ in sys.stdin:
        print(*(seconds_of(run, _CPU) for run in runs.values()), flush=True)


def main() -> None:
    """Measure; print a table, and write it to --json."""
    parser = options(__doc__, rounds=7)
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    parser.add_argument("--answer", action="store_true", help="be one of the interpreters")
    given = parser.parse_args()
    if given.answer:
        answer()
        return
    interpreters = [Interpreter(python) for python in (sys.executable, *given.python)]
    times = [[each.measure() for each in interpreters] for _ in range(given.rounds)]
    for each in interpreters:
        each.close()
    names = list(parts())
    columns: dict[str, list[str]] = {"part": names}
    for n, interpreter in enumerate(interpreters):
        cells = []
        for part in range(len(names)):
            median = statistics.median(turn[n][part] for turn in times)
            ratios = [turn[0][part] / turn[n][part] for turn in times]
            shown = f" ({statistics.median(ratios):.2f}: {min(ratios):.2f}-{max(ratios):.2f})"
            cells.append(f"{median * 1e3:.1f}{shown if n else ''}")
        columns[f"torch {interpreter.version}, ms"] = cells
    print(markdown_table(columns))
    write_record(given.json, _CPU, given, seconds=times, parts=names)


if __name__ == "__main__":
    main()
