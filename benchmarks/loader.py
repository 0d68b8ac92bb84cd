"""Images per second of the file loader against bare decoding and torchvision's reference.

    python -m benchmarks.loader --images FOLDER [--workers 1 2] [--repeats 5] [--json FILE]
    python -m benchmarks.loader --index 1300000

FOLDER has one folder of JPEGs per class; they are linked into a temporary tree until an epoch has
`--count` images. Ratios are within a round. All contenders use the same number of worker processes
and the same DataLoader, and start before the clock. With `--workers 0` the clock counts the CPU
time of this process.

bare       open, decode to RGB, resize to 224×224: Pillow, no crop, no augmentation
bare draft the same, with large JPEGs decoded at a fraction of their size
reference  ImageFolder, RandomResizedCrop, flip, ColorJitter, PILToTensor: torchvision's v2
ours       random resized crop and flip in workers, colour jitter on the device
to device  ours without the colour jitter, which a GPU does concurrently

`--index N` makes N files of one byte in 1,000 class folders under TMPDIR, lists them, saves the
listing and reads it again, each in a separate process, and measures time and memory; Linux only.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.measurement import memory_growth, options, write_record
from classification.data.config import DataConfig
from classification.data.file_index import FileIndex
from classification.data.files import FileLoader, ImageFiles, default_workers
from classification.data.folders import images_in, list_images
from classification.data.layout import folders_in
from classification.seeding import make_generator

_CPU = torch.device("cpu")
_SIDE = 224
_BATCH = 64
_JITTER = 0.4
_CLASSES = 1000  # of the tree of --index
_PREFETCHED = 4  # batches per worker, as in our loader
_INDEX_STEPS = ("list", "reload", "digest")


def main() -> None:
    """Print images per second and ratios, or seconds and bytes of the index; write --json."""
    parser = options(__doc__, workers=[default_workers()], count=640, repeats=5)
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="one folder of JPEGs per class"
    )
    parser.add_argument("--index", type=int, metavar="N", help="number of files to index")
    parser.add_argument("--step", choices=_INDEX_STEPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(index_step(given.images, given.step)))
        return
    if given.index is None and given.images is None:
        parser.error("give --images or --index")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, torch {torch.__version__}")
    figures: dict[str, Any] = {"cores": cores}
    if given.index is not None:
        figures["index"] = measure_index(given.index)
    else:
        with tempfile.TemporaryDirectory() as folder:
            tree = make_tree(given.images, Path(folder), given.count)
            figures["throughput"] = measure(tree, given.workers, given.repeats)
        print_scaling(figures["throughput"])
    write_record(given.json, _CPU, given, **figures)


def make_tree(source: Path, folder: Path, count: int) -> Path:
    """Make a tree of `count` training images, as repeated hard links to `source`'s files."""
    folders = [source / name for name in folders_in(source)]
    files = [folder / name for folder in folders for name in images_in(folder, None).names]
    times = max(2, round(count / len(files)))
    for split, repeats in (("train", times), ("val", 1)):
        for path in files:
            target = folder / split / path.parent.name
            target.mkdir(parents=True, exist_ok=True)
            for number in range(repeats):
                _link(path, target / f"{number}-{path.name}")
    print(f"{len(files)} files, {len(files) * times} images per epoch, batches of {_BATCH}")
    return folder


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # on another file system
        target.write_bytes(source.read_bytes())


class Bare(Dataset[torch.Tensor]):
    """Images that are only decoded and resized."""

    def __init__(self, paths: list[Path], draft: bool) -> None:
        self._paths, self._draft = paths, draft

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self._paths[index]) as image:
            if self._draft:
                image.draft(None, (_SIDE, _SIDE))
            small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        return v2.functional.pil_to_tensor(small)


class WithoutColour(FileLoader):
    """Our loader without the work on the device: the throughput of its workers."""

    def _on_device(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        return images.to(self.device)


def contenders(tree: Path, workers: int) -> dict[str, Callable[[int], Iterable[Any]]]:
    """Return functions that load an epoch, by loader."""
    index = list_images(DataConfig(kind="folder", root=tree), "--images").train
    files = ImageFiles(index, _SIDE, workers=workers)
    ours = FileLoader(files, _BATCH, _CPU, True)
    to_device = WithoutColour(files, _BATCH, _CPU, True)
    recipe = v2.Compose(
        [
            v2.RandomResizedCrop(_SIDE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(_JITTER, _JITTER, _JITTER),
            v2.PILToTensor(),
        ]
    )

    def loader(dataset: Dataset[Any]) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            _BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=_PREFETCHED if workers else None,
            multiprocessing_context=multiprocessing.get_context("forkserver") if workers else None,
        )

    bare, drafted = (loader(Bare(index.paths, draft)) for draft in (False, True))
    reference = loader(ImageFolder(str(tree / "train"), recipe))
    return {
        "bare": lambda number: bare,
        "bare draft": lambda number: drafted,
        "reference": lambda number: reference,
        "ours": lambda number: ours.batches(make_generator(0, "loader-benchmark", number)),
        "to device": lambda number: to_device.batches(
            make_generator(0, "loader-benchmark", number)
        ),
    }


def measure(tree: Path, workers: list[int], repeat: int) -> list[dict[str, Any]]:
    """Measure images per second by contender and number of workers, and ratios of ours to them."""
    epochs = {number: contenders(tree, number) for number in workers}
    rates: dict[int, dict[str, list[float]]] = {
        number: {name: [] for name in epochs[number]} for number in workers
    }
    for turn in range(repeat + 1):
        for number in workers:
            # Without workers, CPU time is independent of other load on the machine.
            clock = time.perf_counter if number else time.process_time
            for name, epoch in epochs[number].items():
                started = clock()
                images = sum(map(_images, epoch(turn)))
                if turn:  # the first starts the workers
                    rates[number][name].append(images / (clock() - started))
    return [describe(number, rates[number]) for number in workers]


def _images(batch: Any) -> int:
    return len(batch[0]) if isinstance(batch, list | tuple) else len(batch)


def describe(workers: int, rates: dict[str, list[float]]) -> dict[str, Any]:
    """Print medians and ranges over the rounds; return them as a record."""
    unit = "images/s" if workers else "images per CPU second"
    print(f"{workers} workers, {len(rates['ours'])} rounds: {unit}")
    for name, row in rates.items():
        print(f"  {name:22} {statistics.median(row):.1f} ({min(row):.1f}-{max(row):.1f})")
    ratios = {
        f"{name} / {base}": [a / b for a, b in zip(rates[name], rates[base], strict=True)]
        for name in ("ours", "to device")
        for base in ("bare", "bare draft", "reference")
    }
    for name, row in ratios.items():
        print(f"  {name:22} {statistics.median(row):.3f} ({min(row):.3f}-{max(row):.3f})")
    return {"workers": workers, "rates": rates, "ratios": ratios}


def print_scaling(runs: list[dict[str, Any]]) -> None:
    """Print each contender's speed-up with more workers: medians of the ratios of each round."""
    first, *others = runs
    for run in others:
        gains = {
            name: statistics.median(a / b for a, b in zip(row, first["rates"][name], strict=True))
            for name, row in run["rates"].items()
        }
        told = ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items())
        print(f"{run['workers']} workers over {first['workers']}: {told}")


def measure_index(count: int) -> dict[str, Any]:
    """Measure seconds and growth of peak memory of each step on a tree of `count` files."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        tree = Path(folder) / "tree"
        make_files(tree, count)
        print(f"{count:,} files made in {time.perf_counter() - started:.1f} s", flush=True)
        environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache"}
        steps = {}
        for step in _INDEX_STEPS:
            command = [sys.executable, "-m", "benchmarks.loader", "--images", str(tree)]
            output = subprocess.check_output([*command, "--step", step], env=environment)
            steps[step] = json.loads(output)
        kept = sum(path.stat().st_size for path in Path(folder, "cache").rglob("*.npz"))
    for step, row in steps.items():
        print(
            f"  {step:8} {row['seconds']:6.2f} s, peak memory +{row['growth_bytes'] / 1e6:.0f} MB"
        )
    print(f"  index {steps['list']['index_bytes'] / 1e6:.0f} MB, cache {kept / 1e6:.0f} MB")
    return {"files": count, "cache_bytes": kept, "steps": steps}


def make_files(tree: Path, count: int) -> None:
    """Make about `count` training files of one byte, and one validation file per class."""
    each = max(2, count // _CLASSES)
    settled = time.time() - 60  # listings of recently changed folders are not saved
    for label in range(_CLASSES):
        name = f"n{label:08}"
        for split, files in (("train", each), ("val", 1)):
            folder = tree / split / name
            folder.mkdir(parents=True)
            for number in range(files):
                with open(folder / f"{name}_{number}.JPEG", "wb") as file:  # noqa: PTH123 - faster
                    file.write(b"x")
            os.utime(folder, (settled, settled))


def index_step(tree: Path, step: str) -> dict[str, float]:
    """Measure seconds and growth of peak memory of one step in this process."""
    config = DataConfig(kind="folder", root=tree)
    index = list_images(config, "--index").train if step == "digest" else None
    seconds, size = 0.0, 0

    def work() -> None:
        nonlocal seconds, size
        started = time.perf_counter()
        if index is not None:
            ImageFiles(index, _SIDE).digest()
        else:
            size = sum(part.nbytes for part in _parts(list_images(config, "--index").train))
        seconds = time.perf_counter() - started

    growth = memory_growth(work)
    return {"seconds": seconds, "growth_bytes": growth, "index_bytes": size}


def _parts(index: FileIndex) -> tuple[torch.Tensor, ...]:
    return index.names, index.ends, index.owners, index.all_sizes, index.rows, index.labels


if __name__ == "__main__":
    main()
