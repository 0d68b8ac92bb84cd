"""k-center greedy against pairwise distances by scikit-learn, on CIFAR-sized features.

    python -m benchmarks.coreset [--device cuda] [--threads 2] [--json FILE]

The baseline computes scikit-learn's distances of all features from each new centre and keeps the
minima in numpy. It is timed on `--small` images, interleaved with ours, on a CPU; both should
choose the same centres. Features are random: one cluster per class, spread along a few directions,
after a ReLU. Times are wall-clock seconds and CPU seconds of all cores.
"""

import statistics
import time
from typing import Any

import numpy as np
import torch
from sklearn.metrics.pairwise import euclidean_distances
from torch import Tensor

from benchmarks.measurement import Row, Run, options, ratios, seconds_of, write_record
from classification.seeding import make_generator
from pipeline.device import device_name, resolve_device
from subsample.coreset import k_center_greedy, k_center_ranks

_GOAL_SECONDS = 10.0  # for all images at the default sizes, on two cores
_DIRECTIONS = 20  # of spread within a class


def main() -> None:
    """Print seconds and the ratio, and write them to --json."""
    parser = options(
        __doc__,
        device="cpu",
        repeats=3,
        images=50_000,
        classes=10,
        features=512,
        fraction=0.05,
        small=5_000,
    )
    parser.add_argument("--threads", type=int, help="of torch (default: torch's)")
    given = parser.parse_args()
    device = resolve_device(given.device)
    if given.threads:
        torch.set_num_threads(given.threads)
    features, labels = make_features(given.images, given.features, given.classes, device)
    count = round(given.fraction * given.images)
    print(f"{device_name(device)}, torch {torch.__version__}")

    runs: dict[str, Run] = {
        f"{count} of all": lambda: k_center_greedy(features, count).cpu(),
        f"{given.fraction:g} of each class": lambda: k_center_ranks(
            features, labels, given.fraction
        ).cpu(),
    }
    seconds = {name: measure(run, given.repeats) for name, run in runs.items()}
    for name, row in seconds.items():
        print(
            f"{name:24} of {given.images} x {given.features}: {row['seconds']:.2f} s, "
            f"{row['cpu_seconds']:.2f} CPU s"
        )
    print(f"goal for all, on two cores: {_GOAL_SECONDS:g} s")
    comparison = compare(features[: given.small], given.fraction, given.repeats)
    print(
        f"of {given.small}: {comparison['seconds']:.3f} s, pairwise "
        f"{comparison['pairwise_seconds']:.3f} s, ratio {comparison['ratio']:.3f} "
        f"({min(comparison['ratios']):.3f}-{max(comparison['ratios']):.3f}), "
        f"{comparison['centres_in_common']:.3f} of the centres in common"
    )
    summary = [Row("k-center, ours / scikit-learn", comparison["ratios"])]
    summary += [Row(f"k-center, {name}", row["seconds_all"], "s") for name, row in seconds.items()]
    write_record(given.json, device, given, summary, seconds=seconds, comparison=comparison)


def make_features(
    number: int, width: int, num_classes: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw features float32 [N, F] and labels int64 [N]."""
    generator = make_generator(0, "coreset-benchmark")

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    labels = torch.arange(number) % num_classes
    spread = normal(number, _DIRECTIONS) * torch.rand(number, 1, generator=generator)
    features = normal(num_classes, width)[labels] + spread @ normal(_DIRECTIONS, width) * 0.3
    return features.relu().to(device), labels.to(device)


def measure(run: Run, repeats: int) -> dict[str, Any]:
    """Measure the wall-clock seconds of `run`, their median, and that of all cores' CPU seconds."""
    wall, processor = [], []
    for _ in range(repeats):
        begun = time.process_time()
        wall.append(seconds_of(run, torch.device("cpu")))  # `run` waits for its device
        processor.append(time.process_time() - begun)
    return {
        "seconds": statistics.median(wall),
        "seconds_all": wall,
        "cpu_seconds": statistics.median(processor),
    }


def compare(features: Tensor, fraction: float, repeats: int) -> dict[str, Any]:
    """Compare ours with the baseline: the median ratio over rounds, and the common centres."""
    count = round(fraction * len(features))
    points = features.cpu().numpy()
    ours, theirs = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        centres = k_center_greedy(features, count).tolist()
        between = time.perf_counter()
        others = pairwise_greedy(points, count, centres[0])
        ours.append(between - begun)
        theirs.append(time.perf_counter() - between)
    each = ratios(ours, theirs)
    return {
        "seconds": statistics.median(ours),
        "pairwise_seconds": statistics.median(theirs),
        "ratio": statistics.median(each),
        "ratios": each,
        "centres_in_common": len(set(centres) & set(others)) / count,
    }


def pairwise_greedy(points: np.ndarray, count: int, first: int) -> list[int]:
    """Run the baseline from the same `first` centre: `points` [N, F] to `count` indices."""
    order = [first]
    near = euclidean_distances(points, points[[first]])[:, 0]
    while len(order) < count:
        order.append(int(near.argmax()))
        near = np.minimum(near, euclidean_distances(points, points[[order[-1]]])[:, 0])
    return order


if __name__ == "__main__":
    main()
