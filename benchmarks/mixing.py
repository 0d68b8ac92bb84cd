"""Time per batch of every mixer against torchvision v2's CutMix and MixUp and a plain copy.

    python -m benchmarks.mixing --json mixing.json

Runs are interleaved, so that a busy machine slows all of them alike; figures are medians, ratios
are taken within one run of this script. torchvision draws one mix for the whole batch, the
mixers here one for each sample. MixUp is left out for uint8, which torchvision would round.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import v2

from classification.mixing import CutMix, DCutMix, DMixup, Mixup

NUM_CLASSES = 100
NO_MIXING, V2_CUTMIX, V2_MIXUP = "no mixing (copy)", "torchvision v2.CutMix", "torchvision v2.MixUp"

Run = Callable[[], object]


def main() -> None:
    """Print a table for float32 and one for uint8; write both as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--batch-size", type=int, default=256, help="images (default: 256)")
    parser.add_argument("--image-size", type=int, default=32, help="pixels a side (default: 32)")
    parser.add_argument("--num-images", type=int, default=5, help="images in a mix (default: 5)")
    parser.add_argument("--repetitions", type=int, default=100, help="timed runs (default: 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    results = {}
    for dtype in (torch.float32, torch.uint8):
        images = torch.randint(256, shape, device=device).to(dtype)
        labels = torch.randint(NUM_CLASSES, shape[:1], device=device)
        runs = _runs(images, labels, options.num_images)
        seconds = measure(runs, options.repetitions, device)
        results[str(dtype).removeprefix("torch.")] = _compare(seconds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    header = {
        "device": f"{device.type} ({name})",
        "threads": options.threads,
        "torch": torch.__version__,
        "batch": list(shape),
        "num_images": options.num_images,
        "repetitions": options.repetitions,
    }
    for dtype_name, rows in results.items():
        print(f"\n{dtype_name} {shape}, K = {options.num_images}, {header['device']}")
        print(f"{'':26}{'median µs':>10}{'/ v2.CutMix':>13}{'/ v2.MixUp':>12}{'/ copy':>8}")
        for run, row in rows.items():
            mixup = row.get("ratio_to_v2_mixup")
            print(
                f"{run:26}{row['median_microseconds']:10.0f}{row['ratio_to_v2_cutmix']:13.2f}"
                f"{'-' if mixup is None else format(mixup, '.2f'):>12}"
                f"{row['ratio_to_no_mixing']:8.1f}"
            )
    if options.json:
        options.json.write_text(json.dumps({**header, "results": results}, indent=2) + "\n")


def measure(runs: dict[str, Run], repetitions: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each run; one of each in turn, after three rounds of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(-3, repetitions):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repetition >= 0:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def _runs(images: Tensor, labels: Tensor, num_images: int) -> dict[str, Run]:
    generator = torch.Generator(images.device).manual_seed(0)
    alpha = 1 / num_images
    mixers = {
        "CutMix": CutMix(num_classes=NUM_CLASSES),
        "DCutMix": DCutMix(num_images, alpha, num_classes=NUM_CLASSES),
        "Mixup": Mixup(num_classes=NUM_CLASSES),
        "DMixup": DMixup(num_images, alpha, num_classes=NUM_CLASSES),
    }
    theirs = {V2_CUTMIX: v2.CutMix(num_classes=NUM_CLASSES)}
    if images.is_floating_point():
        theirs[V2_MIXUP] = v2.MixUp(num_classes=NUM_CLASSES)
    runs: dict[str, Run] = {NO_MIXING: images.clone}
    runs |= {name: partial(mix, images, labels) for name, mix in theirs.items()}
    runs |= {name: partial(mix, images, labels, generator) for name, mix in mixers.items()}
    return runs


def _compare(seconds: dict[str, float]) -> dict[str, dict[str, float]]:
    references = {
        "ratio_to_no_mixing": NO_MIXING,
        "ratio_to_v2_cutmix": V2_CUTMIX,
        "ratio_to_v2_mixup": V2_MIXUP,
    }
    return {
        name: {"median_microseconds": median * 1e6}
        | {key: median / seconds[run] for key, run in references.items() if run in seconds}
        for name, median in seconds.items()
    }


if __name__ == "__main__":
    main()
