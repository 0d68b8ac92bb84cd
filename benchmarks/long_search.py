"""A search that is killed after every epoch a hundred times, against one process.

    python -m benchmarks.long_search [--epochs 200] [--kills 100] [--json FILE]

Runs the quickstart's search with a tiny supernet on a random tenth of the digits twice: in one
process, and in processes of which each but the last is killed as soon as it has saved an epoch.
Prints whether the files are the same, what a resume costs, and time and memory by epoch (Linux).
"""

import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import CONFIGS, options, write_record
from classification.persistence.workspace import checkpoints, finished_steps

_OPTIONS = (
    "subset.measure=random",
    "search.channels=4",
    "search.cells=3",
    "search.batch_size=16",
)
_LOOK = 0.005  # seconds between two looks at the checkpoints
_SPAN = 20  # epochs of each mean


def run(folder: Path, epochs: int, kill: bool) -> dict[str, Any]:
    """Run the search in `folder` and look at its checkpoints until it ends or, with `kill`, until
    it has saved one more epoch. Returns the CPU and wall seconds of the process, and a row for each
    epoch seen: number, seconds since the start, resident MB of the process, bytes of a checkpoint.
    """
    command = [sys.executable, str(CONFIGS.parent / "run_pipeline.py"), "run", "--quiet"]
    command += [str(CONFIGS / "quickstart.yaml"), "--until", "search", "--device", "cpu"]
    command += ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    for option in (*_OPTIONS, f"search.epochs={epochs}"):
        command += ["--set", option]
    begin, rows = time.perf_counter(), []
    known = _finished(folder)
    with subprocess.Popen(command) as process:
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if (done := _finished(folder)) > known:
                known = done
                rows.append(
                    {
                        "epoch": done,
                        "seconds": time.perf_counter() - begin,
                        "resident_mb": _resident(process.pid) / 1e6,
                        "checkpoint_bytes": _checkpoint_bytes(folder),
                    }
                )
                if kill:
                    process.send_signal(signal.SIGKILL)
            time.sleep(_LOOK)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the run ended with status {process.returncode}")
    seconds = time.perf_counter() - begin
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "status": process.returncode, "epochs": rows}


def results(folder: Path) -> dict[str, bytes]:
    """Return the result files of the one search in `folder`, by name."""
    (artifact,) = (p for p in (folder / "artifacts" / "search").iterdir() if p.name[0] != ".")
    return {name: (artifact / name).read_bytes() for name in ("genotype.json", "metrics.jsonl")}


def spans(rows: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Return, for every 20 epochs after epoch `first`, the median seconds between epochs, and the
    memory and checkpoint size at their end."""
    found = []
    for start in range(first, rows[-1]["epoch"] - _SPAN + 2, _SPAN):
        inside = [row for row in rows if start <= row["epoch"] <= start + _SPAN]
        gaps = [
            (new["seconds"] - old["seconds"]) / (new["epoch"] - old["epoch"])
            for old, new in itertools.pairwise(inside)
        ]
        last = next(row for row in reversed(inside) if row["checkpoint_bytes"])
        found.append(last | {"seconds": statistics.median(gaps), "epoch": f"{start + 1} on"})
    return found


def main() -> None:
    """Run both, and print the comparison."""
    given = options(__doc__, epochs=200, kills=100).parse_args()
    with tempfile.TemporaryDirectory() as name:
        one, many = Path(name) / "one", Path(name) / "many"
        alone = run(one, given.epochs, kill=False)
        parts: list[dict[str, Any]] = []
        while len(parts) < given.kills and (not parts or parts[-1]["status"]):
            parts.append(run(many, given.epochs, kill=True))
        parts.append(run(many, given.epochs, kill=False))
        expected, found = results(one), results(many)
        lines = (many / "artifacts" / "ledger.jsonl").read_text().splitlines()
        attempts = [json.loads(line) for line in lines]
        shutil.rmtree(many)
    same = {name: expected[name] == found[name] for name in expected}
    killed = [part for part in parts if part["status"]]
    print(f"killed {len(killed)} times; same bytes: {same}; {len(attempts)} lines in the ledger")
    first = [row["epochs"][0]["seconds"] for row in killed]
    print(
        f"from start to a saved epoch: median {statistics.median(first):.2f} s "
        f"({min(first):.2f} to {max(first):.2f}); first ten {statistics.median(first[:10]):.2f} s, "
        f"last ten {statistics.median(first[-10:]):.2f} s"
    )
    cpu = [part["cpu_seconds"] for part in killed]
    print(
        f"CPU of such a process: median {statistics.median(cpu):.2f} s, first ten "
        f"{statistics.median(cpu[:10]):.2f} s, last ten {statistics.median(cpu[-10:]):.2f} s"
    )
    whole = sum(part["cpu_seconds"] for part in parts)
    print(f"CPU: one process {alone['cpu_seconds']:.1f} s, {len(parts)} processes {whole:.1f} s")
    for row in spans(alone["epochs"], _SPAN):
        print(
            f"epochs {row['epoch']}: {row['seconds']:.3f} s an epoch, {row['resident_mb']:.1f} MB "
            f"resident, checkpoint {row['checkpoint_bytes']:,} bytes"
        )
    figures: dict[str, Any] = {"one": alone, "many": parts, "same": same}
    figures["ledger_lines"] = len(attempts)
    write_record(given.json, torch.device("cpu"), given, **figures)


def _finished(folder: Path) -> int:
    """Return the saved epochs of the unfinished search."""
    return max((finished_steps(work) for work in _works(folder)), default=0)


def _checkpoint_bytes(folder: Path) -> int:
    try:
        return max(checkpoints(work)[-1].stat().st_size for work in _works(folder))
    except (FileNotFoundError, ValueError, IndexError):  # replaced meanwhile, or published
        return 0


def _works(folder: Path) -> list[Path]:
    return list((folder / "artifacts" / "search").glob(".work-*"))


def _resident(process: int) -> int:
    """Return bytes of resident memory; 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGESIZE"
        )
    except (FileNotFoundError, IndexError):
        return 0


if __name__ == "__main__":
    main()
