"""Time of the quickstart by stage, and of a second run that reuses all stages.

python -m benchmarks.quickstart [--repeats 3] [--device cpu] [--json FILE]
"""

import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.measurement import CONFIGS, Row, options, ratios, seconds_of, write_record
from pipeline.store.ledger import Ledger


def measure(device: str) -> dict[str, float]:
    """Measure seconds of a first run, of its stages, and of a second run that reuses them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(CONFIGS.parent / "run_pipeline.py"), "run"]
        command += [str(CONFIGS / "quickstart.yaml"), "--device", device]
        command += ["--artifacts", f"{folder}/artifacts", "--runs", f"{folder}/runs"]
        run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        seconds = {
            name: seconds_of(run, torch.device("cpu")) for name in ("first run", "second run")
        }
        for attempt in Ledger(Path(folder) / "artifacts" / "ledger.jsonl").attempts():
            seconds[attempt.stage] = attempt.seconds
        return seconds


def main() -> None:
    """Print medians, and their fractions of the first run."""
    given = options(__doc__, device="cpu", repeats=3).parse_args()
    runs = [measure(given.device) for _ in range(given.repeats)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    whole = medians["first run"]
    for name, seconds in medians.items():
        print(f"{name:12} {seconds:8.2f} s  {seconds / whole:6.3f} of the first run")
    each = {name: [run[name] for run in runs] for name in medians}
    summary = [Row("second run / first run", ratios(each["second run"], each["first run"]))]
    summary += [Row(name, seconds, "s") for name, seconds in each.items()]
    write_record(given.json, torch.device(given.device), given, summary, medians=medians, runs=runs)


if __name__ == "__main__":
    main()
