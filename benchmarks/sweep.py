"""Overhead of a sweep in addition to its stages: seconds per trial, first run and rerun.

    python -m benchmarks.sweep [--trials 24] [--jobs 1] [--json FILE]

The study trains classifiers on subsets of scikit-learn's digits, in a temporary folder. In the
first run, the overhead is the wall-clock time minus the work in the ledger.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.measurement import Row, options, seconds_of, write_record
from pipeline.commands.sweep import sweep as run_sweep
from pipeline.device import device_name
from pipeline.store.ledger import Ledger

_GOAL_SECONDS = 2.0  # per trial
_MEASURES = ("cv", "random", "mean_low", "std")
_BASE = """\
data: {kind: digits}
scorer: {model: resnet8, epochs: 1, learning_rate: 0.1, schedule: one_cycle}
probe: {model: resnet8, epochs: 1, batch_size: 16, learning_rate: 0.1, schedule: one_cycle}
"""


def main() -> None:
    """Print seconds of each sweep and the overhead per trial; write them to --json."""
    given = options(__doc__, trials=24, jobs=1).parse_args()
    cpu = torch.device("cpu")
    seeds = max(1, given.trials // len(_MEASURES))
    trials = seeds * len(_MEASURES)
    series = [f"  - {{name: {each}, set: {{subset.measure: {each}}}}}" for each in _MEASURES]
    output = None if given.json is None else given.json.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("base.yaml").write_text(_BASE)
        head = f"name: digits\nbase: base.yaml\nseeds: {seeds}\nset: {{goal: subset}}\n"
        points = "points: [{subset.fraction: 0.1}]\nseries:\n"
        Path("study.yaml").write_text("\n".join([head + points + series[0], *series[1:]]) + "\n")
        run = partial(run_sweep, Path("study.yaml"), jobs=given.jobs, device="cpu")
        first, again = (seconds_of(run, cpu) for _ in range(2))
        work = sum(attempt.seconds for attempt in Ledger(Path("artifacts/ledger.jsonl")).attempts())
    added = {
        "first run": max(0.0, first - work / given.jobs) / trials,
        "rerun": again / trials,
    }
    print(f"{device_name(torch.device('cpu'))}, torch {torch.__version__}, {trials} trials")
    print(f"first run {first:.1f} s, of which work {work:.1f} s; rerun {again:.1f} s")
    for name, seconds in added.items():
        print(f"overhead per trial, {name}: {seconds:.3f} s (goal: under {_GOAL_SECONDS:g})")
    figures = {"trials": trials, "seconds": [first, again], "work": work, "added": added}
    summary = [Row(f"overhead of a trial, {name}", [each], "s") for name, each in added.items()]
    write_record(output, cpu, given, summary, **figures)


if __name__ == "__main__":
    main()
