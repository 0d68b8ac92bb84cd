"""Time of a search iteration: ours, the plain supernet, the public PC-DARTS repository.

    python -m benchmarks.search --reference PC-DARTS [--device cuda] [--batch-size 64] [--json FILE]

PC-DARTS is an unmodified checkout of the repository of Xu et al. 2020. An iteration is an
architecture step and a weight step. Images are random; the time does not depend on their content.
"""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measurement import (
    LEARNING_RATE,
    Row,
    Run,
    interleaved,
    options,
    peak_memory,
    random_batch,
    ratios,
    write_record,
)
from benchmarks.reference import PARTIAL, Reference, logit_difference
from classification.acceleration import GraphMode, Precision, autocast, replayed
from classification.training.schedules import make_sgd
from classification.training.trainer import to_device
from pcdarts.architect import Architect
from pcdarts.plain_supernet import PlainSupernet
from pcdarts.search import SearchConfig
from pcdarts.steps import weight_step
from pcdarts.supernet import Supernet
from pipeline.device import device_name, keep_freed_memory, resolve_device
from pipeline.reports.page import markdown_table

_NUM_CLASSES = 10
_WARMUP_ROUNDS = 5  # more than the calls before a step is captured
PARTS = ("forward", "architecture step", "weight step", "iteration")


class Variant(Protocol):
    """A supernet and its two steps."""

    def forward(self, images: Tensor, labels: Tensor, /) -> object:
        """Compute the logits of a batch."""

    def architecture_step(self, images: Tensor, labels: Tensor, /) -> object:
        """Update α and β."""

    def weight_step(self, images: Tensor, labels: Tensor, /) -> object:
        """Update the weights."""


class Ours:
    """The merged or the plain supernet, with this project's steps."""

    def __init__(
        self,
        kind: type[Supernet] | type[PlainSupernet],
        config: SearchConfig,
        device: torch.device,
        precision: Precision = "fp32",
        cuda_graph: GraphMode = "off",
        num_classes: int = _NUM_CLASSES,
    ) -> None:
        model: Any = kind(num_classes, config.channels, config.cells, config.partial_channels)
        model = to_device(model, device) if kind is Supernet else model.to(device)
        self.model: Any = model.train()
        self.num_classes, self._precision = num_classes, precision
        self.architect = Architect(
            self.model,
            config.architecture_learning_rate,
            config.architecture_weight_decay,
            precision,
            config.architecture_gradient_clip,
        )
        self.optimizer = make_sgd(
            self.model.weight_parameters(),
            config.learning_rate,
            config.momentum,
            config.weight_decay,
        )

        def update(images: Tensor, labels: Tensor) -> None:
            clip = config.gradient_clip
            weight_step(self.model, self.optimizer, images, labels, clip, precision)

        self.architecture_step, self.weight_step = replayed(
            [self.architect.step, update], cuda_graph, device, [], print
        )

    def forward(self, images: Tensor, labels: Tensor) -> None:
        with autocast(self._precision, images.device):
            self.model(images)


class OperationCounter(TorchDispatchMode):
    """Counts the aten operations dispatched below autograd, and how many of them are views.

    PyTorch documents the base class, but only in a module with a private name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.views = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.operations += 1
        self.views += bool(func.is_view)
        return func(*args, **(kwargs or {}))


def builders(
    config: SearchConfig, device: torch.device, reference: Path | None
) -> dict[str, Callable[[], Variant]]:
    """Return functions that build each variant; on a CUDA device also ours captured and in bf16."""
    made: dict[str, Callable[[], Variant]] = {
        "ours": partial(Ours, Supernet, config, device),
        "plain": partial(Ours, PlainSupernet, config, device),
    }
    if device.type == "cuda":
        for precision in ("fp32", "bf16"):
            name = "ours captured" + (" bf16" if precision == "bf16" else "")
            made[name] = partial(Ours, Supernet, config, device, precision, "on")
    if reference is not None:
        made["reference"] = partial(Reference, reference, _NUM_CLASSES, config, device)
    return made


def measure_seconds(
    variants: dict[str, Variant], images: Tensor, labels: Tensor, repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Measure seconds of every part of every variant, interleaved."""
    runs: dict[tuple[str, str], Run] = {}
    for name, variant in variants.items():
        runs[name, "forward"] = partial(variant.forward, images, labels)
        runs[name, "architecture step"] = partial(variant.architecture_step, images, labels)
        runs[name, "weight step"] = partial(variant.weight_step, images, labels)
        runs[name, "iteration"] = partial(iterate, variant, images, labels)
    warm_up = _WARMUP_ROUNDS if images.is_cuda else 1
    seconds = interleaved(runs, repeats, images.device, warm_up)
    return {name: {part: seconds[name, part] for part in PARTS} for name in variants}


def count_operations(variant: Variant, images: Tensor, labels: Tensor) -> tuple[int, int]:
    """Count the operations of an iteration, all and without views."""
    with OperationCounter() as counter:
        iterate(variant, images, labels)
    return counter.operations, counter.operations - counter.views


def main() -> None:
    """Measure; print a table and the ratios, and write them to --json."""
    parser = options(__doc__, device="cpu", repeats=5, batch_size=32, channels=16, cells=8, side=32)
    parser.add_argument("--reference", type=Path, metavar="DIR", help="the PC-DARTS checkout")
    given = parser.parse_args()
    device = resolve_device(given.device)
    config = SearchConfig(
        channels=given.channels,
        cells=given.cells,
        partial_channels=PARTIAL,
        learning_rate=LEARNING_RATE,
    )
    shape = (given.batch_size, 3, given.side, given.side)
    report = compare(config, device, given.reference, shape, given.repeats)
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(as_markdown(report))
    write_record(given.json, device, given, headline(report["variants"]), **report)


def headline(variants: dict[str, Any]) -> list[Row]:
    """Return iteration and peak memory of ours, first relative to the other variants."""

    def iteration(name: str) -> list[float]:
        found: list[float] = variants[name]["seconds_all"]["iteration"]
        return found

    ours = variants["ours"]["peak_bytes"]
    rows = []
    for other in ("plain", "reference"):
        timed, peak = f"iteration, ours / {other}", f"peak memory, ours / {other}"
        if other in variants:
            rows.append(Row(timed, ratios(iteration("ours"), iteration(other))))
            rows.append(Row(peak, [ours / variants[other]["peak_bytes"]]))
        else:
            rows += [Row(name, needs=f"--{other}") for name in (timed, peak)]
    return [
        *rows,
        Row("iteration, ours", iteration("ours"), "s"),
        Row("peak memory, ours", [ours / 1e6], "MB"),
    ]


def compare(
    config: SearchConfig,
    device: torch.device,
    reference: Path | None,
    shape: tuple[int, ...],
    repeats: int,
) -> dict[str, Any]:
    """Return all figures, and the speed of each variant relative to the base named in them."""
    keep_freed_memory()
    torch.manual_seed(0)
    images, labels = random_batch(shape[0], _NUM_CLASSES, shape[-1], device)
    made = builders(config, device, reference)
    variants = {name: build() for name, build in made.items()}
    seconds = measure_seconds(variants, images, labels, repeats)
    base = "reference" if reference is not None else "plain"
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in variants.items():
        medians = {part: statistics.median(times) for part, times in seconds[name].items()}
        # A replayed step dispatches no operations.
        counts = (None, None) if "captured" in name else count_operations(variant, images, labels)
        rows[name] = {
            "seconds": medians,
            "seconds_all": seconds[name],
            "operations": counts[0],
            "operations_without_views": counts[1],
        }
    del variants
    for name, build in made.items():
        rows[name]["peak_bytes"] = peak_memory(Iterations(build, shape, device), device)
        rows[name]["speed"] = {
            part: rows[base]["seconds"][part] / rows[name]["seconds"][part] for part in PARTS
        }
    return {
        "shape": shape,
        "channels": config.channels,
        "cells": config.cells,
        "repeats": repeats,
        "base": base,
        "logit_difference": (
            None if reference is None else logit_difference(reference, config, shape[-1])
        ),
        "variants": rows,
    }


def as_markdown(report: dict[str, Any]) -> str:
    """Format the figures as a table."""
    rows = report["variants"]
    columns = {"variant": list(rows)}
    for part in PARTS:
        columns[f"{part}, ms"] = [
            f"{row['seconds'][part] * 1e3:.1f} ({row['speed'][part]:.2f})" for row in rows.values()
        ]
    columns["peak, MB"] = [f"{row['peak_bytes'] / 1e6:.0f}" for row in rows.values()]
    columns["operations without views"] = [
        str(row["operations_without_views"] or "") for row in rows.values()
    ]
    head = (
        f"Batch {tuple(report['shape'])}, C = {report['channels']}, {report['cells']} cells; "
        f"medians of {report['repeats']} interleaved; in brackets the speed relative to "
        f"{report['base']}."
    )
    difference = report["logit_difference"]
    if difference is not None:
        head += f" Logits differ by {difference:.1e} of the largest, in float64."
    return f"{head}\n\n{markdown_table(columns)}\n"


class Iterations:
    """Builds a variant and a batch, and returns the work for the memory measurement."""

    def __init__(
        self, build: Callable[[], Variant], shape: tuple[int, ...], device: torch.device
    ) -> None:
        self.build, self.shape, self.device = build, shape, device

    def __call__(self) -> Callable[[], None]:
        """Return a function that runs a few iterations."""
        variant = self.build()
        batch = random_batch(self.shape[0], _NUM_CLASSES, self.shape[-1], self.device)

        def work() -> None:
            for _ in range(_WARMUP_ROUNDS if self.device.type == "cuda" else 2):
                iterate(variant, *batch)

        return work


def iterate(variant: Variant, images: Tensor, labels: Tensor) -> None:
    """One iteration."""
    variant.architecture_step(images, labels)
    variant.weight_step(images, labels)


if __name__ == "__main__":
    main()
