"""A search iteration side by side: ours, the plain supernet, the public PC-DARTS repository.

    python -m benchmarks.search --reference PC-DARTS [--device cuda] [--batch-size 64] [--json FILE]

PC-DARTS is an unmodified checkout of the repository of Xu et al. 2020. An iteration is an
architecture step and a weight step. Variants run interleaved, and medians are compared as ratios,
so that a busy machine disturbs all alike. The random images stand for any: the time does not
depend on what they show.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.peak_memory import peak_memory
from benchmarks.reference import PARTIAL, Reference, logit_difference
from classification.acceleration import GraphMode, Precision, Step, autocast, replayed
from classification.training.schedules import make_sgd
from classification.training.trainer import to_device
from pcdarts.architect import Architect
from pcdarts.plain_supernet import PlainSupernet
from pcdarts.search import SearchConfig
from pcdarts.steps import weight_step
from pcdarts.supernet import Supernet
from pipeline.device import device_name, keep_freed_memory

_NUM_CLASSES = 10
_WARMUP_ROUNDS = 5  # more than a step is called before it is captured
_LEARNING_RATE = 1e-6  # so that the weights stay finite on random labels
PARTS = ("forward", "architecture step", "weight step", "iteration")


class Variant(Protocol):
    """A supernet and its two steps."""

    def forward(self, images: Tensor, labels: Tensor, /) -> object:
        """Logits of a batch."""

    def architecture_step(self, images: Tensor, labels: Tensor, /) -> object:
        """Moves α and β."""

    def weight_step(self, images: Tensor, labels: Tensor, /) -> object:
        """Moves the weights."""


class Ours:
    """The merged supernet or the plain one, with this project's steps."""

    def __init__(
        self,
        kind: type[Supernet] | type[PlainSupernet],
        config: SearchConfig,
        device: torch.device,
        precision: Precision = "fp32",
        cuda_graph: GraphMode = "off",
    ) -> None:
        model: Any = kind(_NUM_CLASSES, config.channels, config.cells, config.partial_channels)
        model = to_device(model, device) if kind is Supernet else model.to(device)
        self._model: Any = model.train()
        self._precision = precision
        architect = Architect(
            self._model,
            config.architecture_learning_rate,
            config.architecture_weight_decay,
            precision,
        )
        optimizer = make_sgd(
            self._model.weight_parameters(),
            config.learning_rate,
            config.momentum,
            config.weight_decay,
        )

        def update(images: Tensor, labels: Tensor) -> None:
            weight_step(self._model, optimizer, images, labels, config.gradient_clip, precision)

        self.architecture_step, self.weight_step = replayed(
            [architect.step, update], cuda_graph, device, [], print
        )

    def forward(self, images: Tensor, labels: Tensor) -> None:
        """Logits of a batch."""
        with autocast(self._precision, images.device):
            self._model(images)


class OperationCounter(TorchDispatchMode):
    """Counts the aten operations dispatched below autograd, and those among them that are views."""

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
    """What makes each variant, by name; on a CUDA device ours comes captured and in bf16 too."""
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
    """Seconds of every part of every variant, one of each in turn."""

    runs: dict[str, dict[str, Step]] = {
        name: {
            "forward": v.forward,
            "architecture step": v.architecture_step,
            "weight step": v.weight_step,
            "iteration": partial(iterate, v),
        }
        for name, v in variants.items()
    }
    seconds: dict[str, dict[str, list[float]]] = {
        name: {part: [] for part in PARTS} for name in runs
    }
    for repeat in range(-_WARMUP_ROUNDS if images.is_cuda else -1, repeats):
        for name, parts in runs.items():
            for part, run in parts.items():
                elapsed = _timed(run, images, labels)
                if repeat >= 0:
                    seconds[name][part].append(elapsed)
    return seconds


def count_operations(variant: Variant, images: Tensor, labels: Tensor) -> tuple[int, int]:
    """Operations of an iteration, all and without views."""
    with OperationCounter() as counter:
        iterate(variant, images, labels)
    return counter.operations, counter.operations - counter.views


def main() -> None:
    """Measure, print a table and the ratios, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, metavar="DIR", help="the PC-DARTS checkout")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="images (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--cells", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    report = compare(
        SearchConfig(
            channels=arguments.channels,
            cells=arguments.cells,
            partial_channels=PARTIAL,
            learning_rate=_LEARNING_RATE,
        ),
        torch.device(arguments.device),
        arguments.reference,
        (arguments.batch_size, 3, arguments.side, arguments.side),
        arguments.repeats,
    )
    print_report(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def compare(
    config: SearchConfig,
    device: torch.device,
    reference: Path | None,
    shape: tuple[int, ...],
    repeats: int,
) -> dict[str, Any]:
    """All figures, and how many times as fast as the base, named in them, each variant is."""
    keep_freed_memory()
    torch.manual_seed(0)
    images = torch.randn(shape, device=device)
    labels = torch.arange(shape[0], device=device) % _NUM_CLASSES
    made = builders(config, device, reference)
    variants = {name: build() for name, build in made.items()}
    seconds = measure_seconds(variants, images, labels, repeats)
    base = "reference" if reference is not None else "plain"
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in variants.items():
        medians = {part: statistics.median(times) for part, times in seconds[name].items()}
        # A replayed step dispatches nothing that could be counted.
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
        "device": device_name(device),
        "torch": torch.__version__,
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


def print_report(report: dict[str, Any]) -> None:
    """The figures as a table."""
    print(
        f"{report['device']}, torch {report['torch']}; batch {tuple(report['shape'])}, "
        f"C = {report['channels']}, {report['cells']} cells; medians of {report['repeats']}, "
        f"in brackets times the speed of {report['base']}"
    )
    for name, row in report["variants"].items():
        times = "  ".join(
            f"{part} {row['seconds'][part] * 1e3:.1f} ms ({row['speed'][part]:.2f})"
            for part in PARTS
        )
        print(f"{name:20} {times}")
        counted = row["operations_without_views"]
        print(
            f"{'':20} peak {row['peak_bytes'] / 1e6:.0f} MB"
            + ("" if counted is None else f", {counted} operations without views")
        )
    if report["logit_difference"] is not None:
        print(f"logits differ by {report['logit_difference']:.1e} of the largest, in float64")


class Iterations:
    """Makes a variant and a batch, and returns the work whose memory is measured."""

    def __init__(
        self, build: Callable[[], Variant], shape: tuple[int, ...], device: torch.device
    ) -> None:
        self.build, self.shape, self.device = build, shape, device

    def __call__(self) -> Callable[[], None]:
        """The work: a few iterations."""
        variant = self.build()
        images = torch.randn(self.shape, device=self.device)
        labels = torch.arange(self.shape[0], device=self.device) % _NUM_CLASSES

        def work() -> None:
            for _ in range(_WARMUP_ROUNDS if self.device.type == "cuda" else 2):
                iterate(variant, images, labels)

        return work


def iterate(variant: Variant, images: Tensor, labels: Tensor) -> None:
    """One iteration."""
    variant.architecture_step(images, labels)
    variant.weight_step(images, labels)


def _timed(run: Step, images: Tensor, labels: Tensor) -> float:
    _finish(images.device)
    started = time.perf_counter()
    run(images, labels)
    _finish(images.device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
