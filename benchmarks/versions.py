"""Time of search iterations and training steps by several interpreters or checkouts, side by side.

    python -m benchmarks.versions [--python OTHER/bin/python] [--against CHECKOUT] [--json FILE]

Other interpreters have, for example, another version of torch; another checkout of this repository
is run by this interpreter. Each is a process that waits for its turn, so that in every round all
run one after the other. Prints medians of CPU time and, by round, this one's time over each other
one's. One thread.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
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
from evaluate.retrain import build_network
from evaluate.retrain_config import RetrainConfig
from pcdarts.genotype import Genotype
from pcdarts.published_genotypes import GENOTYPES
from pcdarts.search import SearchConfig
from pcdarts.supernet import Supernet
from pipeline.device import keep_freed_memory
from pipeline.reports.page import markdown_table

_CPU = torch.device("cpu")
_NUM_CLASSES = 10
_HERE = CONFIGS.parent


class Interpreter:
    """A process of `python` that measures the code in `checkout` each time it is asked."""

    def __init__(self, python: str, checkout: Path, genotypes: list[str]) -> None:
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [python, "-P", __file__, "--answer", "--genotype", *genotypes],
            cwd=_HERE,
            env=os.environ | threads | {"PYTHONPATH": str(checkout)},
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


def parts(genotypes: list[str]) -> dict[str, Any]:
    """Return what is timed, by name: with networks of genotypes, published ones or files."""
    torch.manual_seed(0)
    made: dict[str, Any] = {}
    for channels, cells, batch, side in ((8, 5, 24, 8), (16, 8, 64, 32)):
        config = SearchConfig(channels=channels, cells=cells, learning_rate=LEARNING_RATE)
        supernet, data = Ours(Supernet, config, _CPU), random_batch(batch, _NUM_CLASSES, side, _CPU)
        name = f"search iteration, C={channels}: {cells} cells, {batch} of {side}×{side}"
        made[name] = lambda supernet=supernet, data=data: iterate(supernet, *data)
    model = to_device(build_classifier("resnet9", _NUM_CLASSES), _CPU).train()
    optimizer = make_sgd(list(model.parameters()), LEARNING_RATE, 0.9, 5e-4)
    images, labels = random_batch(128, _NUM_CLASSES, 32, _CPU)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    made["ResNet-9 step: 128 of 32×32"] = step
    for name in genotypes:
        for channels, cells, side in ((8, 4, 8), (16, 8, 32)):
            shape = f"C={channels}: {cells} cells, 96 of {side}×{side}"
            made[f"retraining {Path(name).stem}, {shape}"] = _retraining_step(
                GENOTYPES[name] if name in GENOTYPES else Genotype.load(Path(name)),
                {"channels": channels, "cells": cells, "epochs": 1, "batch_size": 96},
                side,
            )
    return made


def _retraining_step(genotype: Genotype, settings: dict[str, int], side: int) -> Any:
    config = RetrainConfig.model_validate(settings)
    network: Any = to_device(build_network(genotype, config, _NUM_CLASSES), _CPU).train()
    network.drop_path_prob = 0.2
    optimizer = make_sgd(list(network.parameters()), LEARNING_RATE, 0.9, config.weight_decay)
    images, labels = random_batch(config.batch_size, _NUM_CLASSES, side, _CPU)

    def step() -> None:
        optimizer.zero_grad()
        logits, auxiliary = network(images)
        loss = F.cross_entropy(logits, labels)
        (loss + config.auxiliary_weight * F.cross_entropy(auxiliary, labels)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
        optimizer.step()

    return step


def answer(genotypes: list[str]) -> None:
    """Measure each part once for every line of standard input."""
    keep_freed_memory()
    runs = parts(genotypes)
    for run in runs.values():
        run()
    print(torch.__version__, flush=True)
    for _ in sys.stdin:
        print(*(seconds_of(run, _CPU, time.process_time) for run in runs.values()), flush=True)


def main() -> None:
    """Measure; print a table, and write it to --json."""
    parser = options(__doc__, rounds=7, genotype=["pcdarts_cifar10", "darts_v2"])
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    parser.add_argument("--against", action="append", default=[], type=Path, help="a checkout")
    parser.add_argument("--answer", action="store_true", help="be one of the interpreters")
    given = parser.parse_args()
    if given.answer:
        answer(given.genotype)
        return

    from benchmarks.measurement import Row, ratios  # older checkouts that answer do not have them

    others = [(python, _HERE) for python in given.python]
    others += [(sys.executable, checkout.resolve()) for checkout in given.against]
    compared = [(sys.executable, _HERE), *others]
    interpreters = [Interpreter(*each, given.genotype) for each in compared]
    times = [[each.measure() for each in interpreters] for _ in range(given.rounds)]
    for interpreter in interpreters:
        interpreter.close()
    names = list(parts(given.genotype))
    columns: dict[str, list[str]] = {"part": names}
    summary: list[Row] = []
    for n, interpreter in enumerate(interpreters):
        cells = []
        checkout = compared[n][1]
        label = f"torch {interpreter.version}" if checkout == _HERE else checkout.name
        for part, name in enumerate(names):
            seconds = [turn[n][part] for turn in times]
            each = ratios([turn[0][part] for turn in times], seconds)
            shown = f" ({statistics.median(each):.2f}: {min(each):.2f}-{max(each):.2f})"
            cells.append(f"{statistics.median(seconds) * 1e3:.1f}{shown if n else ''}")
            if n:
                summary.append(Row(f"{name.partition(':')[0]}, this / {label}", each))
        place = "" if checkout == _HERE else f" {checkout.name},"
        columns[f"torch {interpreter.version},{place} ms"] = cells
    print(markdown_table(columns))
    summary = summary or [Row("steps, this / other checkout", needs="--against")]
    summary += [
        Row(name.partition(":")[0], [turn[0][part] * 1e3 for turn in times], "ms")
        for part, name in enumerate(names)
    ]
    write_record(given.json, _CPU, given, summary, seconds=times, parts=names)


if __name__ == "__main__":
    main()
