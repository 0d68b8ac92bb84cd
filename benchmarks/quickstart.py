"""Where the quickstart's time goes: each stage's share, and the cost of running it all again.

python -m benchmarks.quickstart [--repetitions 3] [--device cpu] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.store.ledger import Ledger

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "quickstart.yaml"


def measure(device: str) -> dict[str, float]:
    """Seconds of a first run, of its stages, and of a second run that reuses them all."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(CONFIG)]
        command += ["--artifacts", f"{folder}/artifacts", "--runs", f"{folder}/runs"]
        command += ["--device", device]
        seconds = {}
        for name in ("first run", "second run"):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name] = time.perf_counter() - started
        for attempt in Ledger(Path(folder) / "artifacts" / "ledger.jsonl").attempts():
            seconds[attempt.stage] = attempt.seconds
        return seconds


def main() -> None:
    """Print medians, and each as a share of the first run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs = [measure(arguments.device) for _ in range(arguments.repetitions)]
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    whole = medians["first run"]
    for name, seconds in medians.items():
        print(f"{name:12} {seconds:8.2f} s  {seconds / whole:6.3f} of the first run")
    if arguments.json:
        arguments.json.write_text(json.dumps({"medians": medians, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
