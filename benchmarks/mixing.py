"""What mixing costs: seconds of a training step with every mixer over those without mixing.

    python -m benchmarks.mixing [--device cuda] [--models preact_resnet18 …] [--json FILE]
    python -m benchmarks.mixing --alone     # the mixers without a network, beside torchvision's

A step is augmentation, mixing, forward, backward and update, as the pipeline takes it (the cost
column of the paper's Table 2). Rounds hold one step of each mixer, in turn, so that a busy machine
slows all alike; a mixer's ratio is the median over the rounds of its time over that without mixing
in the same round. Images and labels are random. Alone, torchvision draws one mix for the whole
batch and the mixers here one for each sample; its MixUp would round uint8 and is left out there.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from classification.acceleration import Step, replayed
from classification.classifier import AugmentAndMix
from classification.data.transforms import Augmentation, Normalization
from classification.mixing import MixingConfig, MixingContext
from classification.mixing.config import Kind
from classification.models import build_classifier
from classification.training.schedules import make_sgd
from classification.training.step import Recipe, TrainingStep
from classification.training.trainer import to_device
from pipeline.device import device_name, keep_freed_memory, resolve_device

NUM_CLASSES = 100
KINDS: tuple[Kind, ...] = get_args(Kind)
PLAIN, V2_CUTMIX, V2_MIXUP = "none", "torchvision v2.CutMix", "torchvision v2.MixUp"
_WARM_UP = 4  # rounds; a step is captured in the fourth

Run = Callable[[], object]


def main() -> None:
    """Print a table a model, or one for float32 and one for uint8; write all as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--models", nargs="+", default=["preact_resnet18"], metavar="NAME")
    parser.add_argument(
        "--mixers", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND", help="all"
    )
    parser.add_argument("--alone", action="store_true", help="without a network")
    parser.add_argument("--batch-size", type=int, default=100, help="images (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=32, help="pixels (default: %(default)s)")
    parser.add_argument("--num-images", type=int, default=5, help="K (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    device = resolve_device(options.device)
    keep_freed_memory()
    record: dict[str, Any] = {
        "device": device_name(device),
        "torch": torch.__version__,
        "options": {key: str(value) for key, value in vars(options).items()},
        "tables": {},
    }
    print(f"{record['device']}, torch {torch.__version__}, {options.repeats} rounds")
    for name in ["float32", "uint8"] if options.alone else options.models:
        if options.alone:
            runs = runs_alone(getattr(torch, name), device, options)
        else:
            runs = training_steps(name, device, options)
        table = compare(measure(runs, options.repeats, device))
        record["tables"][name] = table
        _print(name, table)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


def training_steps(
    model_name: str, device: torch.device, options: argparse.Namespace
) -> dict[str, Run]:
    """One training step of the model with each mixer; all train the same weights, hardly."""
    torch.manual_seed(0)
    classifier = build_classifier(model_name, NUM_CLASSES)
    model = to_device(classifier, device)
    optimizer = make_sgd(model.parameters(), 1e-6, 0.9, 1e-4, nesterov=True)
    normalization = Normalization((0.5,) * 3, (0.25,) * 3)
    images, labels = _batch(torch.uint8, device, options)
    runs: dict[str, Run] = {}
    for kind in [PLAIN, *(kind for kind in options.mixers if kind != PLAIN)]:
        mixer = _config(kind, options).build(
            NUM_CLASSES, MixingContext(normalization, model, getattr(classifier, "stages", ())[1:3])
        )
        recipe = Recipe(
            epochs=1,
            learning_rate=1e-6,
            schedule=lambda epoch: 1.0,
            prepare=AugmentAndMix(Augmentation(normalization, crop_padding=2), mixer),
            objective=F.cross_entropy,
            cuda_graph="off" if mixer and not mixer.capturable else "auto",
        )
        step = TrainingStep(model, optimizer, recipe)
        run: Step
        (run,) = replayed([step.run], recipe.cuda_graph, device, [step.generator], print)
        runs[kind] = partial(run, images, labels)
    return runs


def runs_alone(
    dtype: torch.dtype, device: torch.device, options: argparse.Namespace
) -> dict[str, Run]:
    """Each mixer that needs no model, on a batch of this type, beside torchvision's and a copy."""
    images, labels = _batch(dtype, device, options)
    generator = torch.Generator(device).manual_seed(0)
    theirs = {V2_CUTMIX: v2.CutMix(num_classes=NUM_CLASSES)}
    if dtype.is_floating_point:
        theirs[V2_MIXUP] = v2.MixUp(num_classes=NUM_CLASSES)
    runs: dict[str, Run] = {PLAIN: images.clone}
    runs |= {name: partial(mix, images, labels) for name, mix in theirs.items()}
    for kind in options.mixers:
        config = _config(kind, options)
        mixer = None if config.needs_model else config.build(NUM_CLASSES)
        if mixer is not None:
            runs[kind] = partial(mixer, images, labels, generator)
    return runs


def measure(runs: dict[str, Run], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each run, round by round, after the warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(-_WARM_UP, repeats):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def compare(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each run the median of its milliseconds, and of its ratios to others of the same round."""
    table = {}
    for name, times in seconds.items():
        table[name] = {"milliseconds": statistics.median(times) * 1e3}
        for other in (PLAIN, V2_CUTMIX, V2_MIXUP):
            if other in seconds:
                ratios = sorted(a / b for a, b in zip(times, seconds[other], strict=True))
                table[name] |= {
                    f"ratio to {other}": statistics.median(ratios),
                    f"least ratio to {other}": ratios[0],
                    f"greatest ratio to {other}": ratios[-1],
                }
    return table


def _print(name: str, table: dict[str, dict[str, float]]) -> None:
    others = [other for other in (PLAIN, V2_CUTMIX, V2_MIXUP) if other in table]
    print(f"\n{name:24}{'ms':>10}" + "".join(f"{'/ ' + other:>26}" for other in others))
    for run, row in table.items():
        ratios = (
            f"{row[f'ratio to {other}']:.3f} ({row[f'least ratio to {other}']:.2f}-"
            f"{row[f'greatest ratio to {other}']:.2f})"
            for other in others
        )
        print(f"{run:24}{row['milliseconds']:10.2f}" + "".join(f"{cell:>26}" for cell in ratios))


def _config(kind: Kind, options: argparse.Namespace) -> MixingConfig:
    config = MixingConfig(kind=kind)
    if not config.mixes_any_number:
        return config
    return config.model_copy(update={"num_images": options.num_images})


def _batch(
    dtype: torch.dtype, device: torch.device, options: argparse.Namespace
) -> tuple[Tensor, Tensor]:
    side = options.image_size
    images = torch.randint(256, (options.batch_size, 3, side, side), device=device).to(dtype)
    return images, torch.arange(options.batch_size, device=device) % NUM_CLASSES


if __name__ == "__main__":
    main()
