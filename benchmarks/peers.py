"""What data-pruning and mixing packages do on planted images, beside this project's.

    sh benchmarks/peers.sh    # a fresh environment; writes docs/peers.md

Selection: 1,000 images of ten classes, sorted as an image folder lists them, with random scores and
one outlier. Mixing: image i of a batch is constant i + 1, so that the mean of a mixed image must be
the mean of its labels' i + 1, whatever the mixer. Runs on a CPU.
"""

import argparse
import importlib.metadata
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measurement import interleaved
from classification.data.transforms import Normalization
from classification.mixing import MixingConfig, MixingContext
from pipeline.device import device_name
from pipeline.reports.page import markdown_table
from subsample.selection import select
from subsample.subset_config import SelectionConfig

CLASSES, PER_CLASS, OUTLIER = 10, 100, 537
FRACTION, SEEDS = 0.2, 50
BATCH, SIDE, ROUNDS = 64, 32, 7
_CPU = torch.device("cpu")

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class SortedImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images of ten classes in the order of their classes."""

    targets = np.repeat(np.arange(CLASSES), PER_CLASS).tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.zeros(1), self.targets[index]


def planted_scores() -> np.ndarray:
    """Return uniform scores in [0, 1], and 100 for the outlier; float64 [1000]."""
    scores = np.random.default_rng(0).random(CLASSES * PER_CLASS)
    scores[OUTLIER] = 100.0
    return scores


def selections() -> dict[str, Callable[[int], Any]]:
    """Return, by name, what selects indices by the planted scores with a seed."""
    import datacull

    images, scores = datacull.DCDataset(SortedImages()), planted_scores()
    labels = np.asarray(SortedImages.targets)
    accuracies = np.linspace(0.5, 0.95, CLASSES)

    def of_datacull(seed: int, loader: str, **options: Any) -> Any:
        np.random.seed(seed)  # noqa: NPY002
        made = getattr(datacull, loader)(images, pruning_rate=FRACTION, batch_size=10, **options)
        made.resample(scores)
        return made.subset_indices

    def own(seed: int, measure: str) -> Any:
        config = SelectionConfig.model_validate({"fraction": FRACTION, "measure": measure})
        return select(labels, config, scores, seed)

    ccs: dict[str, Any] = {"beta": 0.0, "num_strata": 50}
    replaced: dict[str, Any] = {"sampling_with_replacement": True}
    return {
        "this project, `score`": partial(own, measure="score"),
        "this project, `random`": partial(own, measure="random"),
        "datacull TDDSDataLoader": partial(of_datacull, loader="TDDSDataLoader"),
        "datacull CCSDataLoader": partial(of_datacull, loader="CCSDataLoader", **ccs),
        "datacull RCAPDataLoader": partial(of_datacull, loader="RCAPDataLoader"),
        "datacull MetriQDataLoader": partial(
            of_datacull, loader="MetriQDataLoader", class_wise_acc=accuracies
        ),
        "datacull RS2DataLoader, first epoch": partial(of_datacull, loader="RS2DataLoader"),
        "datacull RS2DataLoader, replacing": partial(
            of_datacull, loader="RS2DataLoader", **replaced
        ),
    }


def selection_table() -> str:
    """Return the table of selections over all seeds."""
    scores, labels = planted_scores(), np.asarray(SortedImages.targets)
    highest = set(np.argsort(-scores)[: int(FRACTION * len(scores))].tolist())
    rows = []
    for name, chosen in selections().items():
        kept = [np.asarray(chosen(seed), int) for seed in range(SEEDS)]
        counts = np.stack([np.bincount(labels[k], minlength=CLASSES) for k in kept])
        rows.append(
            {
                "selection": name,
                "kept": _range([len(set(k.tolist())) for k in kept]),
                "images of a class": _range(counts.ravel().tolist()),
                "of the 200 highest scores": _range([len(highest & set(k.tolist())) for k in kept]),
                "outlier kept": f"{sum(OUTLIER in k for k in kept)} of {SEEDS}",
            }
        )
    return _table(rows)


def mixers() -> dict[str, Mix]:
    """Return mixers by name, for images [N, 3, S, S] and labels [N], the latter to soft labels."""
    import kornia.augmentation
    import mixup
    from timm.data.mixup import Mixup
    from torchvision.transforms import v2

    def own(images: Tensor, labels: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        normalization = Normalization((0.0,) * 3, (1.0,) * 3)
        context = MixingContext(normalization, torch.nn.Identity(), stages=())
        mixer = MixingConfig.model_validate({"kind": kind}).build(BATCH, context)
        assert mixer is not None
        return mixer(images, labels, torch.Generator().manual_seed(int(torch.randint(99, ()))))

    def one_hot(images: Tensor, labels: Tensor, mixer: Any) -> tuple[Tensor, Tensor]:
        return mixer(images, F.one_hot(labels, BATCH).to(images))

    def of_kornia(images: Tensor, labels: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        mixer = getattr(kornia.augmentation, kind)(data_keys=["input", "class"], p=1.0)
        mixed, found = mixer(images, labels)
        soft = torch.zeros(len(images), BATCH)
        for first, second, share in found.view(-1, 3).tolist():
            soft[int(first), int(first)] += 1 - share
            soft[int(first), int(second)] += share
        return mixed, soft

    timm = {"label_smoothing": 0.0, "num_classes": BATCH}
    made: dict[str, Mix] = {
        f"this project, {kind}": partial(own, kind=kind)
        for kind in ("mixup", "cutmix", "dmixup", "dcutmix", "saliency_dcutmix")
    }
    for kind in ("VanillaMixUp", "CutMix", "ResizeMix", "FMix", "PuzzleMix", "SaliencyMix"):
        made[f"mixup {kind}"] = partial(one_hot, mixer=getattr(mixup, kind)(alpha=1.0))
    made["torchvision v2.MixUp"] = v2.MixUp(num_classes=BATCH)
    made["torchvision v2.CutMix"] = v2.CutMix(num_classes=BATCH)
    made["timm Mixup, mixup"] = Mixup(mixup_alpha=1.0, cutmix_alpha=0.0, **timm)
    made["timm Mixup, cutmix"] = Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, **timm)
    made["timm Mixup, cutmix by element"] = Mixup(0.0, 1.0, mode="elem", **timm)
    made["kornia RandomMixUpV2"] = partial(of_kornia, kind="RandomMixUpV2")
    made["kornia RandomCutMixV2"] = partial(of_kornia, kind="RandomCutMixV2")
    return made


def mixing_table() -> str:
    """Return the table of mixers: the labels' shape, their error against pixels, time."""
    values = torch.arange(1.0, BATCH + 1)
    images, labels = values.view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).clone(), torch.arange(BATCH)
    made = mixers()
    seconds = interleaved(
        {name: partial(mix, images.clone(), labels) for name, mix in made.items()}, ROUNDS, _CPU
    )
    plain = statistics.median(seconds["torchvision v2.CutMix"])
    rows = []
    for name, mix in made.items():
        errors, shares, shape = [], set(), ""
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            mixed, soft = mix(images.clone(), labels)
            shape = "[" + ", ".join(map(str, soft.shape)) + "]"
            if soft.shape != (BATCH, BATCH):
                continue
            errors.append(((soft * values).sum(1) - mixed.mean((1, 2, 3))).abs().max().item())
            shares.add(len(torch.unique((soft.diagonal() * 1e4).round())))
        rows.append(
            {
                "mixer": name,
                "labels": shape,
                "error of labels": f"{max(errors) / BATCH:.1e}" if errors else "not comparable",
                "shares in a batch": ("one" if max(shares) <= 3 else "one an image")
                if shares
                else "",
                "time": f"{statistics.median(seconds[name]) / plain:.1f}",
            }
        )
    return _table(rows)


def _range(values: list[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _table(rows: list[dict[str, str]]) -> str:
    return markdown_table({head: [row[head] for row in rows] for head in rows[0]})


_PAGE = """\
# Other packages

What packages for data pruning and mixing do on planted images, beside this project. `sh
benchmarks/peers.sh` writes this page, in a fresh environment (2026-11-28, Python 3.11, {device};
{versions}).

## Selection

1,000 images of ten classes, sorted by class as an image folder lists them. Scores are uniform in
[0, 1], but for one outlier of 100, as a wrong label gets it. Every selection is asked for
{fraction}, with {seeds} seeds. A selection of 200 by chance keeps the outlier 10 times of 50.

{selection}

- datacull's `pruning_rate` is the fraction that it keeps; its documentation says that it removes
  it ([script](../findings/datacull-pruning-rate-is-what-it-keeps.sh)).
- `RS2DataLoader` shuffles after its first pass only, so that the first epochs have one or two
  classes ([script](../findings/datacull-rs2-first-epochs-of-one-class.sh)).
- `CCSDataLoader` always keeps the largest score
  ([script](../findings/datacull-ccs-always-keeps-the-largest-score.sh)), and an outlier leaves
  it one stratum for all other images, so that it keeps others by chance.
- `RCAPDataLoader` rounds up in every class, `MetriQDataLoader` (accuracies of 0.5 to 0.95) down.
- This project keeps the same number in every class.

## Mixing

A batch of {batch} images of 3 × {side} × {side}; image i is constant i + 1, so that the mean of
a mixed image must equal the mean of its labels. The error is the largest difference over {seeds}
batches, as a share of the labels' range. Time is a ratio to torchvision's CutMix, medians of
{rounds} rounds interleaved in one run, one thread.

{mixing}

- `mixup`'s SaliencyMix returns labels that compare every image with the labels of all
  ([script](../findings/mixup-saliencymix-label-shape.sh)).
- kornia returns both labels and the share of the second, where in the papers λ is that of the
  first. Its time includes turning these into soft labels.
- timm pairs an image with the one at the mirrored place of the batch and refuses odd batches;
  the others draw partners or, as torchvision, take the neighbour.

## Repositories that are no packages

Run by hand on 2026-11-29, Python 3.11, torch 2.12.1, numpy 2.4.6, not by the script above.

- DeepCore (commit 74ec709), on images of which each has a known share of noise, its MLP trained
  for 5 epochs, 10 seeds: `Uncertainty` with `LeastConfidence` keeps none of the 200 noisiest
  images over all classes, and 158 to 167 of them with `balance=True`: without it, it keeps the
  most certain images. `kCenterGreedy` raises AttributeError (torchvision has no `model_urls`).
- The authors' DCutMix (2cf320e) raises AttributeError with numpy 2 (`np.int`, `np.float`). With
  these two names put back, the error of its labels was 0 in three batches, for DMixup under 4e-7.
- CORDS 0.0.4 cannot be installed on Python 3.11: it requires torchtext 0.10.
- SaliencyMix (9ee02b8) raises AttributeError with numpy 2 (`np.int`). With this name put back, on
  200 batches of 64 images of noise, 32 pixels, the error of its labels was 0 and its box took
  0.5 ms a batch. The box is placed by the saliency of one image for all images of the batch, and
  cut off at the border: the mean share of an image's own pixels was 75 %, where λ has a
  mean of 50 %.
- PuzzleMix (e2dbf3a) and Co-Mixup (2a76816) were not measured: with gco-wrapper 3.0.9, the
  solver of one of them ended the process.
"""


def main() -> None:
    """Write docs/peers.md, or `--output`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/peers.md"))
    given = parser.parse_args()
    packages = ("datacull", "mixup", "torch", "torchvision", "timm", "kornia")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    text = _PAGE.format(
        device=device_name(_CPU),
        versions=versions,
        fraction=FRACTION,
        seeds=SEEDS,
        selection=selection_table(),
        batch=BATCH,
        side=SIDE,
        rounds=ROUNDS,
        mixing=mixing_table(),
    )
    given.output.write_text(text)


if __name__ == "__main__":
    main()
