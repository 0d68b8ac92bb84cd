"""Images per second and peak memory of scoring, against the bare forward pass.

    python -m benchmarks.scoring [--device cuda] [--batch-size 1024] [--json FILE]

Scoring is `measure_losses` as the pipeline calls it: drawing, mixing, normalising, the forward
pass, the losses and their file. The bare forward pass is the same model on one ready batch of the
same size, `--batches` times. Memory is that of scoring N = `--memory-images` and 4N images while
all 4N lie on the device. The random images stand for any: the time does not depend on what they
show.
"""

import resource
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measurement import (
    NORMALIZATION,
    interleaved,
    options,
    random_pixels,
    write_record,
)
from classification.models import build_classifier
from classification.persistence.workspace import Workspace
from pipeline.device import resolve_device
from subsample.config import ScoresConfig
from subsample.uncertainty import measure_losses

_NUM_CLASSES = 100
_GOAL = 0.8


def score(model: nn.Module, images: Tensor, config: ScoresConfig) -> None:
    """Score all of `images` uint8 [N, 3, H, W] in a folder that is removed afterwards."""
    labels = torch.arange(len(images), device=images.device) % _NUM_CLASSES
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder))
        measure_losses(model, images, labels, _NUM_CLASSES, NORMALIZATION, config, 0, work)


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
    images = random_pixels(max(2, mixes // config.draws), side, device)
    batch = torch.randn(config.batch_size, 3, side, side, device=device)
    counts = {"forward": mixes, "scoring": len(images) * config.draws}
    runs = {
        "forward": partial(forward, model, batch, batches),
        "scoring": partial(score, model, images, config),
    }
    seconds = interleaved(runs, repeats, device)
    rates = {key: [counts[key] / each for each in seconds[key]] for key in runs}
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
    images = random_pixels(4 * num_images, side, device)
    score(model, images[:num_images], config)
    peaks = []
    for count in (num_images, 4 * num_images):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        score(model, images[:count], config)
        peaks.append(_peak_memory(device))
    return {"num_images": num_images, "peak_bytes": peaks[0], "peak_bytes_of_4n": peaks[1]}


def main() -> None:
    """Measure, print the ratios and the peaks, and write them as JSON if asked to."""
    given = options(
        __doc__,
        device="cpu",
        repeats=5,
        models=["resnet8", "pyramidnet110"],
        batch_size=128,
        batches=4,
        draws=10,
        side=32,
        memory_images=500,
    ).parse_args()
    device = resolve_device(given.device)
    config = ScoresConfig(draws=given.draws, batch_size=given.batch_size)

    # Memory first: on a CPU a peak, once reached, would hide any later one.
    memory = compare_memory(given.models[0], config, given.memory_images, given.side, device)
    print(
        f"peak memory: {memory['peak_bytes'] / 1e6:.1f} MB for {memory['num_images']} images, "
        f"{memory['peak_bytes_of_4n'] / 1e6:.1f} MB for four times as many"
    )
    speed = []
    for name in given.models:
        figures = compare_speed(name, config, given.batches, given.side, given.repeats, device)
        speed.append(figures)
        print(
            f"{name:16} forward {figures['forward_images_per_second']:9.0f} images/s, scoring "
            f"{figures['scoring_images_per_second']:9.0f} images/s, ratio {figures['ratio']:.2f} "
            f"(goal {_GOAL})"
        )
    write_record(given.json, device, given, speed=speed, memory=memory)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux


if __name__ == "__main__":
    main()
