"""Everything that a CUDA device should show, in under eight minutes: one JSON, one Markdown table.

    python -m benchmarks.gpu --output DIR [--reference PC-DARTS]

An iteration of the search beside the public repository's, whole searches on a tenth and on all of
50,000 images, the fast scorer and its scores in fp32 and bf16, each with and without CUDA graphs,
and a profile of the captured iteration. The random images stand for CIFAR-100's: the time does not
depend on what they show.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.search import PARTS, Ours, compare, iterate
from classification.acceleration import GraphMode, Precision
from classification.classifier import train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.persistence.workspace import Workspace
from classification.training.trainer import to_device
from pcdarts.search import SearchConfig, halve, search
from pcdarts.supernet import Supernet
from pipeline.config import load_config
from pipeline.device import device_name, resolve_device
from subsample.config import ScoresConfig
from subsample.uncertainty import measure_losses

_CONFIG = Path(__file__).parents[1] / "configs" / "cifar100-fast.yaml"
_NUM_CLASSES = 100
_PROFILED_ROWS = 25


def main() -> None:
    """Measure part by part, writing after each, so that a machine taken away loses one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="the PC-DARTS checkout")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--images", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, help="of searches and scorers, if not the recipes'")
    parser.add_argument("--channels", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--cells", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="default: %(default)s")
    options = parser.parse_args()
    device = resolve_device(options.device)
    options.output.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(options.images, options.side)
    changes = {} if options.epochs is None else {"epochs": options.epochs, "warmup_epochs": 0}
    config = SearchConfig(
        channels=options.channels, cells=options.cells, batch_size=options.batch_size, **changes
    )
    shape = (options.batch_size, 3, options.side, options.side)
    cuda = device.type == "cuda"
    modes: list[tuple[Precision, GraphMode]] = [("fp32", "auto")]
    if cuda:
        modes += [("fp32", "off"), ("bf16", "auto")]
    parts: dict[str, Callable[[], Any]] = {
        "iteration": lambda: compare(
            config.model_copy(update={"learning_rate": 1e-6}),
            device,
            options.reference,
            shape,
            options.repeats,
        ),
        "scorer": lambda: [measure_scorer(dataset, device, *mode, options) for mode in modes],
        "search of a tenth": lambda: [
            measure_search(dataset, 0.1, config, device, *mode) for mode in modes
        ],
        "search of all": lambda: [measure_search(dataset, 1.0, config, device, *modes[0])],
        "profile": lambda: profile_iteration(config, device, shape),
    }
    record: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__}
    record["options"] = {key: str(value) for key, value in vars(options).items()}
    for name, measure in parts.items():
        begun = time.perf_counter()
        record[name] = measure()
        record.setdefault("seconds", {})[name] = time.perf_counter() - begun
        (options.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        (options.output / "gpu.md").write_text(as_markdown(record))
    print(as_markdown(record))


def make_dataset(num_images: int, side: int) -> ImageDataset:
    """Random images of 100 classes, as many to test on as a fifth of those to train on."""
    generator = torch.Generator().manual_seed(0)

    def part(number: int) -> ImageSet:
        shape = (number, 3, side, side)
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return ImageSet(images, torch.arange(number) % _NUM_CLASSES)

    return ImageDataset(
        name="random",
        classes=tuple(map(str, range(_NUM_CLASSES))),
        train=part(num_images),
        test=part(num_images // 5),
        normalization=Normalization((0.5,) * 3, (0.25,) * 3),
        crop_padding=4,
        flip=True,
    )


def measure_scorer(
    dataset: ImageDataset,
    device: torch.device,
    precision: Precision,
    cuda_graph: GraphMode,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Seconds of training the fast scorer and of scoring every image ten times."""
    recipe = load_config(_CONFIG).scorer
    changes: dict[str, Any] = {"precision": precision, "cuda_graph": cuda_graph}
    changes |= {"batch_size": min(recipe.batch_size, len(dataset.train.labels) // 2)}
    changes |= {} if options.epochs is None else {"epochs": options.epochs}
    config = ClassifierConfig.model_validate(recipe.model_dump() | changes)

    def train(work: Workspace) -> nn.Module:
        return train_classifier(dataset, config, seed=0, device=device, workspace=work)

    model, training = _timed(train, device)
    scores = ScoresConfig(precision=precision)
    images = dataset.in_memory().to(device)

    def score(work: Workspace) -> Any:
        return measure_losses(
            to_device(model, device),
            images.images,
            images.labels,
            _NUM_CLASSES,
            dataset.normalization,
            scores,
            0,
            work,
        )

    _, scoring = _timed(score, device)
    return {
        "precision": precision,
        "cuda_graph": cuda_graph,
        "epochs": config.epochs,
        "training_seconds": training,
        "scoring_seconds": scoring,
    }


def measure_search(
    dataset: ImageDataset,
    fraction: float,
    config: SearchConfig,
    device: torch.device,
    precision: Precision,
    cuda_graph: GraphMode,
) -> dict[str, Any]:
    """Seconds of a whole search on the first images of each class, checkpoints included."""
    chosen = torch.arange(round(fraction * len(dataset.train.labels)))
    parts = halve(dataset.in_memory().take(chosen).to(device), 0)
    changed: dict[str, Any] = {"precision": precision, "cuda_graph": cuda_graph}
    changed |= {"batch_size": min(config.batch_size, len(chosen) // 2)}
    config = config.model_copy(update=changed)
    augmentation = dataset.augmentation()

    def run(work: Workspace) -> Any:
        return search(parts, _NUM_CLASSES, augmentation, config, 0, work, device)

    _, seconds = _timed(run, device)
    return {
        "images": len(chosen),
        "precision": precision,
        "cuda_graph": cuda_graph,
        "epochs": config.epochs,
        "seconds": seconds,
    }


def profile_iteration(
    config: SearchConfig, device: torch.device, shape: Sequence[int]
) -> list[dict[str, Any]]:
    """What the device, or the CPU, spends an uncaptured iteration's time on, longest first."""
    variant = Ours(Supernet, config.model_copy(update={"learning_rate": 1e-6}), device)
    images = torch.randn(*shape, device=device)
    labels = torch.arange(shape[0], device=device) % 10
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    iterate(variant, images, labels)
    with profile(activities=activities, acc_events=True) as profiled:
        iterate(variant, images, labels)
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = sorted(profiled.key_averages(), key=lambda row: -getattr(row, key))
    total = sum(getattr(row, key) for row in rows)
    return [
        {
            "operation": row.key,
            "calls": row.count,
            "microseconds": getattr(row, key),
            "share": getattr(row, key) / total,
        }
        for row in rows[:_PROFILED_ROWS]
    ]


def as_markdown(record: dict[str, Any]) -> str:
    """The record so far, as tables."""
    lines = [f"# {record['device']}, torch {record['torch']}", ""]
    iteration = record.get("iteration")
    if iteration:
        lines += [
            f"Batch {tuple(iteration['shape'])}, medians of {iteration['repeats']} interleaved; "
            f"in brackets times the speed of {iteration['base']}.",
            "",
            f"| variant | {' | '.join(f'{part}, ms' for part in PARTS)} | peak, MB | operations |",
            f"| --- |{' --- |' * (len(PARTS) + 2)}",
        ]
        for name, row in iteration["variants"].items():
            times = " | ".join(
                f"{row['seconds'][part] * 1e3:.1f} ({row['speed'][part]:.2f})" for part in PARTS
            )
            lines.append(
                f"| {name} | {times} | {row['peak_bytes'] / 1e6:.0f} "
                f"| {row['operations_without_views'] or ''} |"
            )
        lines.append("")
    for row in record.get("scorer", []):
        lines.append(
            f"- fast scorer, {row['epochs']} epochs, {row['precision']}, graphs "
            f"{row['cuda_graph']}: {row['training_seconds']:.1f} s, scores "
            f"{row['scoring_seconds']:.1f} s"
        )
    for part in ("search of a tenth", "search of all"):
        for row in record.get(part, []):
            lines.append(
                f"- search on {row['images']} images, {row['epochs']} epochs, {row['precision']}, "
                f"graphs {row['cuda_graph']}: {row['seconds']:.1f} s"
            )
    if "profile" in record:
        lines += ["", "| operation | calls | ms | share |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {row['operation'][:60]} | {row['calls']} | {row['microseconds'] / 1e3:.2f} "
            f"| {row['share']:.3f} |"
            for row in record["profile"]
        ]
    return "\n".join(lines) + "\n"


def _timed(run: Callable[[Workspace], Any], device: torch.device) -> tuple[Any, float]:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        result = run(Workspace(Path(folder)))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result, time.perf_counter() - begun


if __name__ == "__main__":
    main()
