"""Accuracy of `estimate`: real over estimated time of every stage.

    python -m benchmarks.estimate --config configs/quickstart.yaml --set search.epochs=10

Each repeat has its own seed and store. The run is estimated with each of the clocks, then executed,
and its retraining is estimated again with the network found; each in a new process, as the commands
do, since imports and new memory cost time too. The real time is that of the same clock. `idle` is
the clock of `estimate`: wall-clock seconds without waiting for a processor. `cpu` counts CPU
seconds of the process, which excludes waiting for the disk too.
"""

import io
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurement import Row, options, ratios, write_record
from pipeline.config import load_config
from pipeline.console import Console
from pipeline.device import device_name, keep_freed_memory, resolve_device
from pipeline.estimates import SECONDS
from pipeline.estimates.clock import idle_clock
from pipeline.estimates.estimate import estimate
from pipeline.inputs import load_datasets
from pipeline.runner import Runner, Selection
from pipeline.stages import STAGES
from pipeline.store.store import Store

_CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "cpu": time.process_time,
    "idle": idle_clock,
}
_KNOWN = "retrain, network known"
Seconds = dict[str, float]  # by clock


def compare(
    config: Path, overrides: list[str], device: str, seconds: float, clocks: list[str]
) -> dict[str, tuple[Seconds, Seconds]]:
    """Return (estimated, real) seconds of every stage, each by clock."""
    with (
        TemporaryDirectory() as folder,
        get_context("spawn").Pool(1, keep_freed_memory, maxtasksperchild=1) as pool,
    ):
        place = config, overrides, device, Path(folder)

        def estimated(force: str | None = None) -> dict[str, Seconds]:
            found = {c: pool.apply(estimate_stages, (*place, seconds, c, force)) for c in clocks}
            return {name: {c: found[c][name] for c in clocks} for name in found[clocks[0]]}

        expected, real = estimated(), pool.apply(run_stages, place)
        if "retrain" in real:
            real[_KNOWN] = real["retrain"]
            expected[_KNOWN] = estimated(force="retrain")["retrain"]
    return {stage: (each, real[stage]) for stage, each in expected.items()}


def estimate_stages(
    config: Path,
    overrides: list[str],
    device: str,
    folder: Path,
    seconds: float,
    clock: str,
    force: str | None,
) -> dict[str, float]:
    """Return the expected seconds of the stages by a clock."""
    runner = _runner(config, overrides, device, folder)
    found = estimate(runner, seconds, _CLOCKS[clock], force=force)
    return {
        each.stage: found.wall_seconds(each.hours)
        for each in found.stages
        if each.hours is not None
    }


def run_stages(config: Path, overrides: list[str], device: str, folder: Path) -> dict[str, Seconds]:
    """Run all stages in this process and return their seconds by clock."""
    runner = _runner(config, overrides, device, folder)
    real = {}
    for stage in runner.order:
        begun = {name: now() for name, now in _CLOCKS.items()}
        runner.run(Selection(only=stage))
        real[stage] = {name: now() - begun[name] for name, now in _CLOCKS.items()}
    return real


def _runner(config: Path, overrides: list[str], device: str, folder: Path) -> Runner:
    resolved = load_config(config, overrides)
    datasets, store = load_datasets(resolved), Store(folder)
    return Runner(STAGES, resolved, datasets, store, resolve_device(device), Console(io.StringIO()))


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
    parser.add_argument(
        "--clock",
        choices=[*_CLOCKS],
        action="append",
        default=[],
        help="can be repeated; default: idle, the clock of `estimate`",
    )
    given = parser.parse_args()
    device, clocks = resolve_device(given.device), given.clock or ["idle"]
    rows: dict[str, list[tuple[Seconds, Seconds]]] = {}
    for seed in range(given.repeats):
        overrides = [*given.set, f"seed={seed}"]
        found = compare(given.config, overrides, given.device, given.seconds, clocks)
        total = [pair for stage, pair in found.items() if stage != _KNOWN]
        found["total"] = (_sum(e for e, _ in total), _sum(r for _, r in total))
        for stage, pair in found.items():
            rows.setdefault(stage, []).append(pair)
        summary = [
            Row(f"{stage}, real / est.", quotients(pairs, clocks[0]))
            for stage, pairs in rows.items()
        ]
        write_record(given.json, device, given, summary, seconds=rows)
    for clock in clocks:
        print(f"{device_name(device)}; real / estimated {clock} seconds, n = {given.repeats}")
        for stage, pairs in rows.items():
            fractions = quotients(pairs, clock)
            each = ", ".join(f"{ratio:.2f}" for ratio in fractions)
            spent = statistics.mean(real[clock] for _, real in pairs)
            print(f"{stage:24} {statistics.mean(fractions):.2f}  ({each})  {spent:.1f} s")


def quotients(pairs: list[tuple[Seconds, Seconds]], clock: str) -> list[float]:
    """Return real over estimated seconds of each repeat by a clock."""
    return ratios([real[clock] for _, real in pairs], [expected[clock] for expected, _ in pairs])


def _sum(seconds: Iterable[Seconds]) -> Seconds:
    """Return the sums by clock."""
    added: Counter[str] = Counter()
    for each in seconds:
        added.update(each)
    return dict(added)


if __name__ == "__main__":
    main()
