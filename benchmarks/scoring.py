"""Images per second and peak memory of scoring, against the bare forward pass.

    python -m benchmarks.scoring [--device cuda] [--batch-size 1024] [--json FILE]

Scoring is `measure_losses` as in the pipeline: drawing, mixing, normalising, the forward pass, the
losses and their file. The bare forward pass is the same model on one prepared batch of the same
size, `--batches` times. Memory is measured for scoring N = `--memory-images` and 4N images with all
4N on the device. Images are random; the time does not depend on their content.
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
    Row,
    interleaved,
    options,
    random_pixels,
    ratios,
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
    """Score all of `images` uint8 [N, 3, H, W] in a temporary folder."""
    labels = torch.arange(len(images), device=images.device) % _NUM_CLASSES
    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder))
        measure_losses(model, images, labels, _NUM_CLASSES, NORMALIZATION, config, 0, work)


@torch.inference_mode()
def forward(model: nn.Module, batch: Tensor, times: int) -> None:
    """Run the bare forward pass in eval mode."""
    model.eval()
    for _ in range(times):
        model(batch)


def compare_speed(
    name: str, config: ScoresConfig, batches: int, side: int, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Measure median images per second of both, and their ratio, for the classifier `name`."""
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
        "ratio_of_each_repeat": ratios(rates["scoring"], rates["forward"]),
    }


def compare_memory(
    name: str, config: ScoresConfig, num_images: int, side: int, device: torch.device
) -> dict[str, Any]:
    """Measure peak memory of scoring N and 4N images with all 4N on the device, bytes.

    On a CPU it is the peak of the process, which never decreases: the difference is the growth. N
    is scored once before, because allocators grow until they have seen all sizes.
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
    """Measure; print the ratios and the peaks, and write them to --json."""
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

    # Memory first: on a CPU, an earlier peak would hide a later one.
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
    summary = [
        Row(f"images/s, scoring / forward, {row['model']}", row["ratio_of_each_repeat"])
        for row in speed
    ]
    peak, of_4n = memory["peak_bytes"], memory["peak_bytes_of_4n"]
    summary.append(Row("peak memory, 4 N / N images", [of_4n / peak]))
    summary.append(Row(f"peak memory, {memory['num_images']} images", [peak / 1e6], "MB"))
    write_record(given.json, device, given, summary, speed=speed, memory=memory)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux


if __name__ == "__main__":
    main()
