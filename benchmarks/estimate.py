"""How far `estimate` is from what then happens: the estimated by the real hours of every stage.

    python -m benchmarks.estimate --config configs/quickstart.yaml --set search.epochs=10

Each repeat has a seed and a store of its own: the run is estimated, run, and its retraining, whose
network is then known, estimated again. `--clock cpu` counts the process's seconds on a CPU instead
of those on the wall, for a machine that other work shares: what waits for the disk is then left
out, on both sides.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config import load_config
from pipeline.console import Console
from pipeline.device import device_name, keep_freed_memory, resolve_device
from pipeline.estimates.estimate import SECONDS, estimate
from pipeline.inputs import load_datasets
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.store.store import Store

_CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
_KNOWN = "retrain, network known"


def compare(
    config: Path, overrides: list[str], device: str, seconds: float, clock: str
) -> dict[str, tuple[float, float]]:
    """(estimated, real) seconds of every stage."""
    resolved, now = load_config(config, overrides), _CLOCKS[clock]
    datasets = load_datasets(resolved)
    with TemporaryDirectory() as folder:
        store, console = Store(Path(folder)), Console(io.StringIO())
        runner = Runner(STAGES, resolved, datasets, store, resolve_device(device), console)
        estimated = {s.stage: s.hours for s in estimate(runner, seconds, now).stages}
        real = {}
        for stage in runner.order:
            if stage == "retrain":
                again = estimate(runner, seconds, now).stages[-1]
                estimated[_KNOWN] = again.hours
            begun = now()
            runner.run(Selection(only=stage))
            real[stage] = now() - begun
    real |= {_KNOWN: real["retrain"]} if "retrain" in real else {}
    return {
        name: (hours * 3600, real[name]) for name, hours in estimated.items() if hours is not None
    }


def main() -> None:
    """Estimate, run, compare; print the ratios and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("configs/quickstart.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="default: %(default)s")
    parser.add_argument("--clock", choices=[*_CLOCKS], default="wall", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    keep_freed_memory()
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(arguments.repeats):
        overrides = [*arguments.set, f"seed={seed}"]
        found = compare(
            arguments.config, overrides, arguments.device, arguments.seconds, arguments.clock
        )
        total = [found[stage] for stage in found if stage != _KNOWN]
        found["total"] = (sum(e for e, _ in total), sum(r for _, r in total))
        for stage, pair in found.items():
            rows.setdefault(stage, []).append(pair)
    name = device_name(resolve_device(arguments.device))
    print(f"{name}; estimated / real {arguments.clock} seconds, n = {arguments.repeats}")
    for stage, pairs in rows.items():
        ratios = [estimated / real for estimated, real in pairs]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{stage:24} {statistics.mean(ratios):.2f}  ({each})  "
            f"{statistics.mean(real for _, real in pairs):.1f} s"
        )
    if arguments.json:
        record = {"device": name, "arguments": vars(arguments), "seconds": rows}
        arguments.json.write_text(json.dumps(record, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
