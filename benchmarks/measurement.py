"""Options, interleaved timing, peak memory and records of the benchmarks.

Contenders run in turn in every round, so that other load slows all equally; medians, or ratios
within a round, are compared.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from classification.data.transforms import Normalization
from pipeline.device import device_name

CONFIGS = Path(__file__).parents[1] / "configs"
NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)  # for random images
LEARNING_RATE = 1e-6  # so that the weights stay finite on random labels

Name = TypeVar("Name")
Run = Callable[[], object]
Prepare = Callable[[], Callable[[], object]]  # set-up that returns the work


@dataclass(frozen=True)
class Row:
    """A row of the table of `python -m benchmarks`: a figure and its value in every round.

    A ratio has no unit, and is named "numerator / denominator". `needs` is the option without which
    the figure is not measured; there are no values then.
    """

    what: str
    values: Sequence[float] = ()
    unit: str = ""
    needs: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """Return the columns of the table: what, median with its unit, range, number of rounds."""
        if not self.values:
            return self.what, f"needs {self.needs}", "", ""
        least, greatest = _three_digits(min(self.values)), _three_digits(max(self.values))
        median = f"{_three_digits(statistics.median(self.values))} {self.unit}".rstrip()
        number = len(self.values)
        return self.what, median, f"{least}-{greatest}" if number > 1 else "", str(number)


def options(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Build a parser with --json and one option per default, of its type; lists take several."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        several = isinstance(default, list)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=Path if isinstance(default, Path) else type(default[0] if several else default),
            default=default,
            nargs="+" if several else None,
            help="default: %(default)s",
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    return parser


def write_record(
    path: Path | None,
    device: torch.device,
    given: object,
    summary: Sequence[Row] = (),
    **figures: Any,
) -> None:
    """Write device, torch version, options, figures and summary as JSON, unless `path` is None."""
    if path is not None:
        record = {"device": device_name(device), "torch": torch.__version__, "options": vars(given)}
        record |= figures | {"summary": [asdict(row) for row in summary]}
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide the values of the same round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def random_batch(
    size: int, num_classes: int, side: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw normalised images float32 [N, 3, H, W], and labels int64 [N] that cycle over classes."""
    images = torch.randn(size, 3, side, side, device=device)
    return images, torch.arange(size, device=device) % num_classes


def random_pixels(size: int, side: int, device: torch.device) -> Tensor:
    """Draw images uint8 [N, 3, H, W]."""
    return torch.randint(256, (size, 3, side, side), dtype=torch.uint8, device=device)


def seconds_of(
    run: Run, device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure seconds until the device has finished a run."""
    synchronize(device)
    begun = clock()
    run()
    synchronize(device)
    return clock() - begun


def interleaved(
    runs: Mapping[Name, Run], repeats: int, device: torch.device, warm_up: int = 1
) -> dict[Name, list[float]]:
    """Measure seconds of each run in each of `repeats` rounds, after `warm_up` rounds."""
    seconds: dict[Name, list[float]] = {name: [] for name in runs}
    for repeat in range(-warm_up, repeats):
        for name, run in runs.items():
            elapsed = seconds_of(run, device)
            if repeat >= 0:
                seconds[name].append(elapsed)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(prepare: Prepare, device: torch.device) -> int:
    """Measure peak bytes of the work returned by `prepare` (picklable), beyond those of `prepare`.

    Runs in a new process. Counts torch's allocator on a CUDA device, else the resident memory of
    the process (Linux only).
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (prepare, device))


def memory_growth(work: Run) -> int:
    """Measure the growth of this process at the peak of the work, bytes (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current value
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _peak_memory(prepare: Prepare, device: torch.device) -> int:
    work = prepare()
    if device.type != "cuda":
        return memory_growth(work)
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024
