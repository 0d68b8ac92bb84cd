"""All benchmarks for a CUDA device, with one JSON and one Markdown file.

    python -m benchmarks.gpu --output DIR [--reference PC-DARTS]

It measures an iteration of the search and of the public repository's, complete searches on a tenth
and on all of 50,000 images, the fast scorer and its scores in fp32 and bf16, each with and without
CUDA graphs, a profile of an iteration, and last searches on a tenth with compiled cells, whose time
includes the compilation. Images are random, of the size of CIFAR-100's; the time does not depend on
their content. `--epochs` replaces the epochs of searches and scorers.
"""

import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.measurement import (
    CONFIGS,
    LEARNING_RATE,
    NORMALIZATION,
    options,
    random_batch,
    seconds_of,
)
from benchmarks.search import Ours, as_markdown, compare, iterate
from classification.acceleration import GraphMode, Precision
from classification.classifier import train_classifier
from classification.compilation import CompileMode
from classification.config import ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.persistence.workspace import Workspace
from classification.training.trainer import to_device
from pcdarts.search import SearchConfig, halve, search
from pcdarts.supernet import Supernet
from pipeline.config import load_config
from pipeline.device import device_name, resolve_device
from pipeline.reports.page import markdown_table
from subsample.config import ScoresConfig
from subsample.uncertainty import measure_losses

_CONFIG = CONFIGS / "cifar100-fast.yaml"
_NUM_CLASSES = 100
_PROFILED_ROWS = 25


def main() -> None:
    """Measure part by part and write after each, so that an interruption loses only one part."""
    parser = options(
        __doc__,
        device="cuda",
        repeats=7,
        images=50_000,
        side=32,
        batch_size=256,
        channels=16,
        cells=8,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="the PC-DARTS checkout")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    device = resolve_device(given.device)
    given.output.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(given.images, given.side)
    changes = {} if given.epochs is None else {"epochs": given.epochs, "warmup_epochs": 0}
    config = SearchConfig(
        channels=given.channels, cells=given.cells, batch_size=given.batch_size, **changes
    )
    shape = (given.batch_size, 3, given.side, given.side)
    cuda = device.type == "cuda"
    modes: list[tuple[Precision, GraphMode]] = [("fp32", "auto")]
    if cuda:
        modes += [("fp32", "off"), ("bf16", "auto")]
    parts: dict[str, Callable[[], Any]] = {
        "iteration": lambda: compare(
            config.model_copy(update={"learning_rate": LEARNING_RATE}),
            device,
            given.reference,
            shape,
            given.repeats,
        ),
        "scorer": lambda: [measure_scorer(dataset, device, *mode, given.epochs) for mode in modes],
        "search of a tenth": lambda: [
            measure_search(dataset, 0.1, config, device, *mode) for mode in modes
        ],
        "search of all": lambda: [measure_search(dataset, 1.0, config, device, *modes[0])],
        "profile": lambda: profile_iteration(config, device, shape),
    }
    if cuda:
        parts["compiled search of a tenth"] = lambda: [
            measure_search(dataset, 0.1, config, device, "fp32", graph, "on")
            for graph in ("auto", "off")
        ]
    record: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__}
    record["options"] = {key: str(value) for key, value in vars(given).items()}
    for name, measure in parts.items():
        begun = time.perf_counter()
        record[name] = measure()
        record.setdefault("seconds", {})[name] = time.perf_counter() - begun
        (given.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.output / "gpu.md").write_text(render(record))
    print(render(record))


def make_dataset(num_images: int, side: int) -> ImageDataset:
    """Make random images of 100 classes, with a fifth as many test as training images."""
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
        normalization=NORMALIZATION,
        crop_padding=4,
        flip=True,
    )


def measure_scorer(
    dataset: ImageDataset,
    device: torch.device,
    precision: Precision,
    cuda_graph: GraphMode,
    epochs: int | None,
) -> dict[str, Any]:
    """Measure seconds of training the fast scorer and of scoring every image ten times."""
    recipe = load_config(_CONFIG).scorer
    changes: dict[str, Any] = {"precision": precision, "cuda_graph": cuda_graph}
    changes |= {"batch_size": min(recipe.batch_size, len(dataset.train.labels) // 2)}
    changes |= {} if epochs is None else {"epochs": epochs}
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
    compiled: CompileMode = "off",
) -> dict[str, Any]:
    """Measure seconds of a complete search on the first images of each class, with checkpoints."""
    chosen = torch.arange(round(fraction * len(dataset.train.labels)))
    parts = halve(dataset.in_memory().take(chosen).to(device), 0)
    changed: dict[str, Any] = {"precision": precision, "cuda_graph": cuda_graph}
    changed |= {"compile": compiled, "batch_size": min(config.batch_size, len(chosen) // 2)}
    config = config.model_copy(update=changed)
    augmentation = dataset.augmentation()
    parts_of_time: Counter[str] = Counter()

    def run(work: Workspace) -> Any:
        work.spent = lambda part, took: parts_of_time.update({part: took})
        return search(parts, _NUM_CLASSES, augmentation, config, 0, work, device)

    _, seconds = _timed(run, device)
    return {
        "images": len(chosen),
        "precision": precision,
        "cuda_graph": cuda_graph,
        "compile": compiled,
        "epochs": config.epochs,
        "seconds": seconds,
        "compilation_seconds": parts_of_time["compilation"],
    }


def profile_iteration(
    config: SearchConfig, device: torch.device, shape: Sequence[int]
) -> list[dict[str, Any]]:
    """Profile an uncaptured iteration on the device or the CPU, longest operations first."""
    variant = Ours(Supernet, config.model_copy(update={"learning_rate": LEARNING_RATE}), device)
    images, labels = random_batch(shape[0], variant.num_classes, shape[-1], device)
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


def render(record: dict[str, Any]) -> str:
    """Render the current record as Markdown."""
    lines = [f"# {record['device']}, torch {record['torch']}", ""]
    if "iteration" in record:
        lines.append(as_markdown(record["iteration"]))
    for row in record.get("scorer", []):
        lines.append(
            f"- fast scorer, {row['epochs']} epochs, {row['precision']}, graphs "
            f"{row['cuda_graph']}: {row['training_seconds']:.1f} s, scores "
            f"{row['scoring_seconds']:.1f} s"
        )
    searches = ("search of a tenth", "search of all", "compiled search of a tenth")
    for row in itertools.chain.from_iterable(record.get(part, []) for part in searches):
        compilation = f", of them compilation {row['compilation_seconds']:.1f} s"
        lines.append(
            f"- search on {row['images']} images, {row['epochs']} epochs, {row['precision']}, "
            f"graphs {row['cuda_graph']}, compile {row['compile']}: {row['seconds']:.1f} s"
            + compilation
            * (row["compile"] == "on")
        )
    if "profile" in record:
        rows = record["profile"]
        columns = {
            "operation": [row["operation"][:60] for row in rows],
            "calls": [str(row["calls"]) for row in rows],
            "ms": [f"{row['microseconds'] / 1e3:.2f}" for row in rows],
            "share": [f"{row['share']:.3f}" for row in rows],
        }
        lines += ["", markdown_table(columns)]
    return "\n".join(lines) + "\n"


def _timed(run: Callable[[Workspace], Any], device: torch.device) -> tuple[Any, float]:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder))
        seconds = seconds_of(lambda: results.append(run(work)), device)
    return results[0], seconds


if __name__ == "__main__":
    main()
