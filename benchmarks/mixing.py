"""Cost of mixing: time of a training step with each mixer relative to no mixing.

    python -m benchmarks.mixing [--device cuda] [--models preact_resnet18 …] [--json FILE]
    python -m benchmarks.mixing --alone     # the mixers without a network, and torchvision's

A step is augmentation, mixing, forward, backward and update, as in the pipeline (the cost column of
the paper's Table 2). A mixer's ratio is the median over rounds of its time over the time without
mixing in the same round. Images and labels are random; `--num-images` is K. With --alone,
torchvision draws one mix per batch and our mixers one per sample; torchvision's MixUp rounds uint8
and is omitted there.
"""

import argparse
import statistics
from functools import partial
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.measurement import (
    LEARNING_RATE,
    NORMALIZATION,
    Row,
    Run,
    interleaved,
    options,
    random_pixels,
    ratios,
    write_record,
)
from classification.acceleration import Step, replayed
from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation
from classification.mixing import MixingConfig, MixingContext
from classification.mixing.config import Kind
from classification.models import build_classifier
from classification.training.schedules import make_sgd
from classification.training.step import AugmentAndMix, Recipe, TrainingStep
from classification.training.trainer import to_device
from pipeline.device import device_name, keep_freed_memory, resolve_device

NUM_CLASSES = 100
KINDS: tuple[Kind, ...] = get_args(Kind)
PLAIN, V2_CUTMIX, V2_MIXUP = "none", "torchvision v2.CutMix", "torchvision v2.MixUp"
_HEADLINE: tuple[Kind, ...] = ("dcutmix", "saliency_dcutmix")
_WARM_UP = 4  # rounds; a step is captured in the fourth


def main() -> None:
    """Print one table per model, or one for float32 and one for uint8; write them to --json."""
    parser = options(
        __doc__,
        device="cpu",
        repeats=7,
        models=["preact_resnet18"],
        mixers=list(KINDS),
        batch_size=100,
        image_size=32,
        num_images=5,
    )
    parser.add_argument("--alone", action="store_true", help="without a network")
    given = parser.parse_args()
    device = resolve_device(given.device)
    keep_freed_memory()
    tables: dict[str, Any] = {}
    summary: list[Row] = []
    base = V2_CUTMIX if given.alone else PLAIN
    print(f"{device_name(device)}, torch {torch.__version__}, {given.repeats} rounds")
    for name in ["float32", "uint8"] if given.alone else given.models:
        if given.alone:
            runs = runs_alone(getattr(torch, name), device, given)
        else:
            runs = training_steps(name, device, given)
        seconds = interleaved(runs, given.repeats, device, _WARM_UP)
        tables[name] = compare(seconds)
        _print(name, tables[name])
        summary += [
            Row(
                f"{kind} / {base.removeprefix('torchvision ')}, {name}",
                ratios(seconds[kind], seconds[base]),
            )
            for kind in _HEADLINE
            if kind in seconds
        ]
    write_record(given.json, device, given, summary, tables=tables)


def training_steps(
    model_name: str, device: torch.device, given: argparse.Namespace
) -> dict[str, Run]:
    """Return a training step of the model for each mixer; all train the same weights slightly."""
    torch.manual_seed(0)
    classifier = build_classifier(model_name, NUM_CLASSES)
    model = to_device(classifier, device)
    optimizer = make_sgd(model.parameters(), LEARNING_RATE, 0.9, 1e-4, nesterov=True)
    images = ImageSet(*_batch(torch.uint8, device, given))
    loader = images.loader(len(images), device, training=True)
    rows = torch.arange(len(images), device=device)
    runs: dict[str, Run] = {}
    for kind in [PLAIN, *(kind for kind in given.mixers if kind != PLAIN)]:
        mixer = _config(kind, given).build(
            NUM_CLASSES, MixingContext(NORMALIZATION, model, getattr(classifier, "stages", ())[1:3])
        )
        recipe = Recipe(
            epochs=1,
            learning_rate=LEARNING_RATE,
            schedule=lambda epoch: 1.0,
            prepare=AugmentAndMix(Augmentation(NORMALIZATION, crop_padding=2), mixer),
            objective=F.cross_entropy,
            cuda_graph="off" if mixer and not mixer.capturable else "auto",
        )
        step = TrainingStep(model, optimizer, recipe, loader)
        run: Step
        (run,) = replayed([step.run], recipe.cuda_graph, device, [step.generator], print)
        runs[kind] = partial(run, rows)
    return runs


def runs_alone(
    dtype: torch.dtype, device: torch.device, given: argparse.Namespace
) -> dict[str, Run]:
    """Return each mixer without a model, torchvision's and a copy, on a batch of this type."""
    images, labels = _batch(dtype, device, given)
    generator = torch.Generator(device).manual_seed(0)
    theirs = {V2_CUTMIX: v2.CutMix(num_classes=NUM_CLASSES)}
    if dtype.is_floating_point:
        theirs[V2_MIXUP] = v2.MixUp(num_classes=NUM_CLASSES)
    runs: dict[str, Run] = {PLAIN: images.clone}
    runs |= {name: partial(mix, images, labels) for name, mix in theirs.items()}
    for kind in given.mixers:
        config = _config(kind, given)
        mixer = None if config.needs_model else config.build(NUM_CLASSES)
        if mixer is not None:
            runs[kind] = partial(mixer, images, labels, generator)
    return runs


def compare(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return each run's median milliseconds, and its ratios to other runs of the same round."""
    table = {}
    for name, times in seconds.items():
        table[name] = {"milliseconds": statistics.median(times) * 1e3}
        for other in (PLAIN, V2_CUTMIX, V2_MIXUP):
            if other in seconds:
                each = ratios(times, seconds[other])
                table[name] |= {
                    f"ratio to {other}": statistics.median(each),
                    f"least ratio to {other}": min(each),
                    f"greatest ratio to {other}": max(each),
                }
    return table


def _print(name: str, table: dict[str, dict[str, float]]) -> None:
    others = [other for other in (PLAIN, V2_CUTMIX, V2_MIXUP) if other in table]
    print(f"\n{name:24}{'ms':>10}" + "".join(f"{'/ ' + other:>26}" for other in others))
    for run, row in table.items():
        shown = (
            f"{row[f'ratio to {other}']:.3f} ({row[f'least ratio to {other}']:.2f}-"
            f"{row[f'greatest ratio to {other}']:.2f})"
            for other in others
        )
        print(f"{run:24}{row['milliseconds']:10.2f}" + "".join(f"{cell:>26}" for cell in shown))


def _config(kind: Kind, given: argparse.Namespace) -> MixingConfig:
    config = MixingConfig(kind=kind)
    if not config.mixes_any_number:
        return config
    return config.model_copy(update={"num_images": given.num_images})


def _batch(
    dtype: torch.dtype, device: torch.device, given: argparse.Namespace
) -> tuple[Tensor, Tensor]:
    images = random_pixels(given.batch_size, given.image_size, device).to(dtype)
    return images, torch.arange(given.batch_size, device=device) % NUM_CLASSES


if __name__ == "__main__":
    main()
