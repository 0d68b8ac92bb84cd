"""Images a second that scoring reaches, as a share of the bare forward pass; and its peak memory.

    PYTHONPATH=. python benchmarks/scoring.py [--device cuda] [--batch-size 1024] [--json FILE]

Scoring is `measure_losses` as the pipeline calls it: drawing, mixing, normalising, the forward
pass, the losses and their file. The bare forward pass is the same model on one ready batch of the
same size, as many times. Both run interleaved, and medians are compared. The random images stand
for any: the time does not depend on what they show.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classification.data.transforms import Normalization
from classification.models import build_classifier
from classification.persistence.workspace import Workspace
from subsample.config import ScoresConfig
from subsample.uncertainty import measure_losses

_NUM_CLASSES = 100
_NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)
_GOAL = 0.8


def score(model: nn.Module, images: Tensor, config: ScoresConfig) -> None:
    """Score all of `images` uint8 [N, 3, H, W] in a folder that is removed afterwards."""
    labels = torch.arange(len(images), device=images.device) % _NUM_CLASSES
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder))
        measure_losses(model, images, labels, _NUM_CLASSES, _NORMALIZATION, config, 0, work)


@torch.inference_mode()
def forward(model: nn.Module, batch: Tensor, times: int) -> None:
    """The bare forward pass, in eval mode."""
    model.eval()
    for _ in range(times):
        model(batch)


def compare_speed(
    name: str, config: ScoresConfig, batches: int, side: int, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Medians of images a second of both, and their ratio, for the classifier called `name`."""
    model = build_classifier(name, _NUM_CLASSES).to(device)
    mixes = config.batch_size * batches
    images = make_images(max(2, mixes // config.draws), side, device)
    batch = torch.randn(config.batch_size, 3, side, side, device=device)
    runs: dict[str, tuple[int, Callable[[], None]]] = {
        "forward": (mixes, lambda: forward(model, batch, batches)),
        "scoring": (len(images) * config.draws, lambda: score(model, images, config)),
    }
    rates: dict[str, list[float]] = {key: [] for key in runs}
    for repeat in range(repeats + 1):  # the first warms up
        for key, (count, run) in runs.items():
            seconds = _timed(run, device)
            if repeat:
                rates[key].append(count / seconds)
    medians = {key: statistics.median(values) for key, values in rates.items()}
    return {
        "model": name,
        "forward_images_per_second": medians["forward"],
        "scoring_images_per_second": medians["scoring"],
        "ratio": medians["scoring"] / medians["forward"],
        "ratio_of_each_repeat": [
            scoring / bare for scoring, bare in zip(rates["scoring"], rates["forward"], strict=True)
        ],
    }


def compare_memory(
    name: str, config: ScoresConfig, num_images: int, side: int, device: torch.device
) -> dict[str, Any]:
    """Peak memory of scoring N and 4N images while all 4N lie on the device, in bytes.

    On a CPU it is the process's peak, which never falls: the second less the first is the growth.
    N is scored once before, since allocators grow until they have seen all the sizes.
    """
    model = build_classifier(name, _NUM_CLASSES).to(device)
    images = make_images(4 * num_images, side, device)
    score(model, images[:num_images], config)
    peaks = []
    for count in (num_images, 4 * num_images):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        score(model, images[:count], config)
        peaks.append(_peak_memory(device))
    return {"num_images": num_images, "peak_bytes": peaks[0], "peak_bytes_of_4n": peaks[1]}


def make_images(number: int, side: int, device: torch.device) -> Tensor:
    """Random images uint8 [N, 3, H, W]."""
    return torch.randint(256, (number, 3, side, side), dtype=torch.uint8, device=device)


def main() -> None:
    """Measure, print the ratios and the peaks, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--models", nargs="+", default=["resnet8", "pyramidnet110"])
    parser.add_argument("--batch-size", type=int, default=128, help="images (default: %(default)s)")
    parser.add_argument(
        "--batches", type=int, default=4, help="forward passes a run (default: %(default)s)"
    )
    parser.add_argument("--draws", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--side", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--memory-images", type=int, default=500, help="N of the memory test (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    config = ScoresConfig(draws=arguments.draws, batch_size=arguments.batch_size)

    # Memory first: on a CPU a peak, once reached, would hide any later one.
    memory = compare_memory(
        arguments.models[0], config, arguments.memory_images, arguments.side, device
    )
    print(
        f"peak memory: {memory['peak_bytes'] / 1e6:.1f} MB for {memory['num_images']} images, "
        f"{memory['peak_bytes_of_4n'] / 1e6:.1f} MB for four times as many"
    )
    speed = []
    for name in arguments.models:
        figures = compare_speed(
            name, config, arguments.batches, arguments.side, arguments.repeats, device
        )
        speed.append(figures)
        print(
            f"{name:16} forward {figures['forward_images_per_second']:9.0f} images/s, scoring "
            f"{figures['scoring_images_per_second']:9.0f} images/s, ratio {figures['ratio']:.2f} "
            f"(goal {_GOAL})"
        )
    if arguments.json:
        record = {
            "device": _device_name(device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "batch_size": arguments.batch_size,
            "draws": arguments.draws,
            "side": arguments.side,
            "repeats": arguments.repeats,
            "speed": speed,
            "memory": memory,
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def _timed(run: Callable[[], None], device: torch.device) -> float:
    _synchronize(device)
    begun = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - begun


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
