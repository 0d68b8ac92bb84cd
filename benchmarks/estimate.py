"""Accuracy of `estimate`: estimated over measured time of every stage.

    python -m benchmarks.estimate --config configs/quickstart.yaml --set search.epochs=10

Each repeat has its own seed and store. The run is estimated and executed, and its retraining is
estimated again with the network found. `--clock cpu` counts CPU seconds of the process instead of
wall-clock seconds, for a shared machine; it excludes waiting for the disk.
"""

import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurement import options, write_record
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
    """Return (estimated, real) wall-clock seconds of every stage."""
    resolved, now = load_config(config, overrides), _CLOCKS[clock]
    datasets = load_datasets(resolved)
    with TemporaryDirectory() as folder:
        store, console = Store(Path(folder)), Console(io.StringIO())
        runner = Runner(STAGES, resolved, datasets, store, resolve_device(device), console)
        estimated = {s.stage: s.hours for s in estimate(runner, seconds, now).stages}
        real = {}
        for stage in runner.order:
            if stage == "retrain":
                again = {s.stage: s.hours for s in estimate(runner, seconds, now).stages}
                estimated[_KNOWN] = again[stage]
            begun = now()
            runner.run(Selection(only=stage))
            real[stage] = now() - begun
    real |= {_KNOWN: real["retrain"]} if "retrain" in real else {}
    held = replace(runner.attempt(runner.order[0]), seconds=3600.0).device_hours  # in an hour
    return {
        name: (hours / held * 3600, real[name])
        for name, hours in estimated.items()
        if hours is not None
    }


def main() -> None:
    """Estimate, run and compare; print the ratios and write them to --json."""
    parser = options(
        __doc__,
        device="auto",
        repeats=3,
        config=Path("configs/quickstart.yaml"),
        seconds=SECONDS,
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--clock", choices=[*_CLOCKS], default="wall", help="default: %(default)s")
    given = parser.parse_args()
    device = resolve_device(given.device)
    keep_freed_memory()
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in range(given.repeats):
        overrides = [*given.set, f"seed={seed}"]
        found = compare(given.config, overrides, given.device, given.seconds, given.clock)
        total = [found[stage] for stage in found if stage != _KNOWN]
        found["total"] = (sum(e for e, _ in total), sum(r for _, r in total))
        for stage, pair in found.items():
            rows.setdefault(stage, []).append(pair)
    print(f"{device_name(device)}; estimated / real {given.clock} seconds, n = {given.repeats}")
    for stage, pairs in rows.items():
        ratios = [estimated / real for estimated, real in pairs]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{stage:24} {statistics.mean(ratios):.2f}  ({each})  "
            f"{statistics.mean(real for _, real in pairs):.1f} s"
        )
    write_record(given.json, device, given, seconds=rows)


if __name__ == "__main__":
    main()
