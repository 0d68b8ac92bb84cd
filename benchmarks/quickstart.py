"""Time of the quickstart by stage, also against another checkout, and of a run that reuses it.

    python -m benchmarks.quickstart [--seeds 0 1 2] [--against CHECKOUT] [--json FILE]

With --against, another checkout of this repository runs its own quickstart after this one's, with
the same seed, and held-out errors are compared by seed. CPU seconds (user and system) are those of
the process and of those that it started; the CPU seconds of a stage are known on Linux only. One
thread. --json is written after every seed.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import CONFIGS, Row, options, ratios, write_record
from evaluate.statistics import paired_difference
from pipeline.store.ledger import Ledger

_HERE = CONFIGS.parent
_FIRST, _SECOND, _START, _REPORT = "first run", "second run", "start", "report"
_POLL_SECONDS = 0.05  # between two looks at the ledger
Seconds = dict[str, float]
Mark = tuple[str, float, float]  # the wall and CPU seconds at which a part ended


def measure(checkout: Path, seed: int, device: str) -> dict[str, Any]:
    """Run the quickstart of `checkout` twice: "wall" and "cpu" seconds by part, "error" in %."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "run_pipeline.py", "run", "configs/quickstart.yaml"]
        command += ["--device", device, "--set", f"seed={seed}", "--name", "quickstart"]
        command += ["--artifacts", f"{folder}/artifacts", "--runs", f"{folder}/runs"]
        wall, cpu = _timed(command, checkout, Path(folder) / "artifacts")
        again = _timed(command, checkout, Path(folder) / "artifacts")
        wall[_SECOND], cpu[_SECOND] = again[0][_FIRST], again[1][_FIRST]
        results = Path(folder) / "runs" / "quickstart" / "report" / "results.json"
        error = json.loads(results.read_text())["accuracy"]["top1_error_last"]
        return {"seed": seed, "error": error, "wall": wall, "cpu": cpu}


def _timed(command: list[str], checkout: Path, artifacts: Path) -> tuple[Seconds, Seconds]:
    """Wall and CPU seconds of a run and of its parts: start, stages, report."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    before, begin = _cpu_of_children(), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=checkout, env=os.environ | threads, stdout=subprocess.DEVNULL
    )
    marks: list[Mark] = []
    while process.poll() is None:
        marks += _new_marks(artifacts, marks, time.perf_counter() - begin, _cpu_of(process.pid))
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    total = time.perf_counter() - begin, _cpu_of_children() - before
    marks += [*_new_marks(artifacts, marks, *total), (_REPORT, *total)]
    wall, cpu = {_FIRST: total[0]}, {_FIRST: total[1]}
    for (_, *last), (part, *now) in pairwise([("", 0.0, 0.0), *marks]):
        wall[part], cpu[part] = (end - begin for begin, end in zip(last, now, strict=True))
    return wall, cpu


def _new_marks(artifacts: Path, known: list[Mark], wall: float, cpu: float) -> list[Mark]:
    """The parts that have ended since the last look, at these seconds: the start when the first
    stage has begun, a stage when the ledger has it."""
    if not any(artifacts.glob("*/")):
        return []
    ended = [attempt.stage for attempt in Ledger(artifacts / "ledger.jsonl").attempts()]
    return [(part, wall, cpu) for part in [_START, *ended][len(known) :]]


def _cpu_of(process: int) -> float:
    """CPU seconds of a running process; 0 where the system does not tell."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def report(runs: list[list[dict[str, Any]]], names: list[str]) -> list[Row]:
    """Print medians by part and errors by seed; return the rows of the table of all benchmarks.
    `runs`: of each seed, that of each checkout."""
    summary: list[Row] = []
    if len(names) == 1:
        summary.append(Row("first run, other checkout / here", needs="--against"))
    for clock in ("cpu", "wall"):
        print(f"\n{clock} seconds: medians over the seeds, and ratios of the same seed")
        for part in runs[0][0][clock]:
            by_checkout = [[of[n][clock][part] for of in runs] for n in range(len(names))]
            line = "".join(f"{statistics.median(each):9.2f}" for each in by_checkout)
            if len(names) > 1 and all(by_checkout[0]):  # a stage may take no tick of the clock
                times = ratios(by_checkout[1], by_checkout[0])
                line += f"{statistics.median(times):9.2f} ({min(times):.2f} to {max(times):.2f})"
                if part == _FIRST:
                    summary.append(Row(f"first run, {clock}: {names[1]} / here", times))
            print(f"{part:12}{line}")
    first, second = ([of[0]["wall"][part] for of in runs] for part in (_FIRST, _SECOND))
    summary.append(Row("second run / first run", ratios(second, first)))
    summary += [Row(part, [of[0]["wall"][part] for of in runs], "s") for part in runs[0][0]["wall"]]
    errors = [{of[n]["seed"]: of[n]["error"] for of in runs} for n in range(len(names))]
    print("\ntop-1 error on the held-out digits, %, by seed")
    for name, each in zip(names, errors, strict=True):
        print(f"{name:24}{''.join(f'{value:7.2f}' for value in each.values())}")
    if len(names) > 1:
        difference = paired_difference(*errors)
        low, high = difference.low, difference.high
        interval = "" if low is None else f", 95 % interval [{low:.2f}, {high:.2f}]"
        print(f"here less {names[1]}: {difference.mean:.2f} points{interval}")
    return summary


def main() -> None:
    """Measure; print tables, and write the record after every seed."""
    parser = options(__doc__, device="cpu", seeds=[0, 1, 2], against="")
    given = parser.parse_args()
    places = [_HERE] + ([Path(given.against).resolve()] if given.against else [])
    names = ["here", *(place.name for place in places[1:])]
    runs: list[list[dict[str, Any]]] = []
    for seed in given.seeds:
        runs.append([measure(place, seed, given.device) for place in places])
        print(f"\nseeds {given.seeds[: len(runs)]}: {', '.join(names)}", flush=True)
        summary = report(runs, names)
        write_record(given.json, torch.device(given.device), given, summary, runs=runs)


if __name__ == "__main__":
    main()
