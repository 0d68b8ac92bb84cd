"""Writes a first config for an image folder, with the reason for each choice.

Rules of thumb, meant to be changed: the search sees small copies of the images, as in the paper;
the subset is its tenth unless classes are too small for that; batches leave an epoch enough steps.
Learning rates follow the batch where the standard one is far from it: with its root for the scorer
(Krizhevsky 2014), in proportion for the ImageNet network (Goyal et al. 2017).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from classification.data.config import DataConfig
from classification.data.datasets import MAX_BYTES, ImageDataset
from classification.data.folder_survey import FolderSurvey
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.persistence.storage import write_atomically
from pcdarts.network_kind import smallest_network_input
from pipeline.config import load_config
from pipeline.initial.lines import Key, line, render, scalar
from pipeline.initial.plan import Plan
from pipeline.initial.shapes import (
    FILES_FROM,
    FRACTION,
    KEPT,
    KEPT_OF_MEDIAN,
    batch_of,
    fraction_of,
    in_memory,
    search_side,
    target_side,
)
from pipeline.inputs import check_inputs, load_datasets
from subsample.config import RECOMMENDED
from subsample.subset_config import MIN_PER_CLASS

_SCORES = [
    Key("base", "recommended", ", ".join(f"{key}: {value}" for key, value in RECOMMENDED.items())),
    Key("draws", 10, "the paper's; faster, but the ranking is mostly noise", commented=True),
]
_IMBALANCED = 3  # times as many images in the largest class as in the smallest
# In docs/results.md, "A long tail of CIFAR-100", effective class weights with β = 0.99 are the only
# setting that raised the balanced accuracy of both a scorer and a network with intervals above 0.
# The effective number of images is at most 1 / (1 - β): there a third of the largest class, and so
# here, within the range that Cui et al. 2019 tried.
_LARGEST_OVER_EFFECTIVE = 3
_LEAST_BETA, _LARGEST_BETA = 0.9, 0.9999


def initial_config(survey: FolderSurvey, name: str, plan: Plan, head: Sequence[str] = ()) -> str:
    """YAML with comments, a config called `name` for the folder; `plan` has the choices that follow
    from the time there is, and `head` says how long a run of it takes.

    Raises PipelineError if a run on that folder would refuse what it says.
    """
    searched = replace(survey, train_counts=in_memory(survey))
    worthwhile = fraction_of(searched) < 1
    sections = {
        "data": _data(survey),
        "target": _target(survey),
        "scorer": _scorer(searched, plan) if worthwhile else [],
        "scores": _SCORES if worthwhile else [],
        "subset": _subset(searched),
        "search": _search(searched, plan),
        "retrain": _retrain(survey, plan),
    }
    what = {
        "data": "images for scoring and search; one tensor on the device",
        "target": "images for retraining the found network",
        "scorer": "the classifier whose losses rank the images",
        "scores": "losses of each image under random mixes",
        "subset": "share of each class used for the search",
        "search": "PC-DARTS",
        "retrain": "the found network, from scratch",
    }
    opening = [
        f"# Made by `init` for {scalar(str(survey.root))}: {survey.describe()}.",
        *(f"# {each}" for each in head),
        "# Print every key and its default: python run_pipeline.py config THIS-FILE",
        f"name: {scalar(name)}",
        line("seed: 0", "all randomness is derived from it"),
    ]
    body = []
    for section, keys in sections.items():
        if keys:
            body += ["", line(f"{section}:", what[section]), *map(render, keys)]
    text = "\n".join([*opening, *body]) + "\n"
    _check(text, survey)
    return text


def _data(survey: FolderSurvey) -> list[Key]:
    side, most = search_side(survey), max(in_memory(survey))
    keys = _where(survey)
    if survey.sizes == {(side, side)}:
        keys.append(Key("image_size", side, "their own"))
    else:
        keys.append(Key("image_size", side, "small copies suffice for a search; central square"))
    if most < max(survey.train_counts):
        keys.append(Key("images_per_class", most, "all of them would not fit into memory"))
    if not survey.config.exif_orientation:
        why = f"none of the {len(survey.headers):,} images looked at has to be turned upright"
        keys.append(Key("exif_orientation", True, why, commented=True))
    keys.append(Key("flip", False, "if left and right matter, as in digits", commented=True))
    return keys


def _target(survey: FolderSurvey) -> list[Key]:
    side = target_side(survey)
    if side == search_side(survey):
        return []
    keys = _where(survey)
    if side >= FILES_FROM:
        why = "images stay in their files; worker processes decode them"
    else:
        why = "at most a quarter of the images are enlarged"
    keys.append(Key("image_size", side, why))
    images = survey.train_images + survey.test_images
    if side < FILES_FROM and images * 3 * side * side > MAX_BYTES:
        keys.append(Key("storage", "files", "all of them would not fit into memory"))
    return keys


def _where(survey: FolderSurvey) -> list[Key]:
    keys = [Key("kind", "folder"), Key("root", str(survey.root))]
    layout, config = survey.folder.layout, survey.config
    if layout.val_labels is not None:
        keys.append(Key("val_labels", str(layout.val_labels), "the classes of a flat val/"))
    if config.hold_out is not None:
        keys.append(Key("hold_out", config.hold_out, "of each class, as no images are held out"))
    if config.follow_links:
        keys.append(Key("follow_links", True, "links may lead out of the folder"))
    if config.exif_orientation:
        turned = sum(header.turned for header in survey.headers)
        why = f"turns upright {turned:,} of the {len(survey.headers):,} images looked at"
        keys.append(Key("exif_orientation", True, why))
    return keys


def _scorer(survey: FolderSurvey, plan: Plan) -> list[Key]:
    images, side, epochs = survey.train_images, search_side(survey), plan.scorer_epochs
    batch = batch_of(images, share=16, most=512)
    why = f"light, and deep enough for {side} pixels"
    steps = f"about {epochs * math.ceil(images / batch):,} steps"
    return [
        Key("model", plan.scorer, plan.why.get("scorer.model", why)),
        Key("epochs", epochs, plan.why.get("scorer.epochs", steps)),
        Key("batch_size", batch),
        Key("learning_rate", _digits(0.4 * (batch / 512) ** 0.5), "0.4 at 512"),
        Key("weight_decay", 5.0e-4),
        Key("schedule", "one_cycle"),
        Key("mixing", {"kind": "dcutmix", "num_images": 5, "alpha": 0.2}, "the paper's"),
        *_class_weights(survey.train_counts),
    ]


def _subset(survey: FolderSurvey) -> list[Key]:
    fraction = fraction_of(survey)
    if fraction == 1:
        why = f"a part of {survey.train_images:,} images would be too few for a search"
        return [Key("measure", "full", why)]
    why = "the paper's t"
    if fraction > FRACTION:
        why = (
            f"{sum(_kept(survey)):,} images; the paper's tenth of {survey.train_images:,} is less "
            f"than {KEPT_OF_MEDIAN} a class or {KEPT} in all"
        )
    keys = [
        Key("measure", "cv", "the paper's; random needs no scorer"),
        Key("fraction", fraction, why),
    ]
    if _unequal(survey.train_counts):
        keys[1] = Key("fraction", fraction, f"{why}; of each class, and 2 at least")
    return keys


def _search(survey: FolderSurvey, plan: Plan) -> list[Key]:
    half = sum(_kept(survey)) // 2
    halves = f"one half of the subset, {half:,} images, trains weights, the other the architecture"
    batch = batch_of(half, share=8, most=256)
    return [
        Key("epochs", plan.search_epochs, plan.why.get("search.epochs", "the paper's")),
        Key("warmup_epochs", plan.warmup_epochs, "warm-up: the architecture is frozen"),
        Key("batch_size", batch, halves),
    ]


def _kept(survey: FolderSurvey) -> list[int]:
    """Return how many images of each class the subset keeps."""
    fraction = fraction_of(survey)
    return [max(MIN_PER_CLASS, round(fraction * count)) for count in survey.train_counts]


def _retrain(survey: FolderSurvey, plan: Plan) -> list[Key]:
    images = survey.train_images
    network = [
        Key("channels", plan.channels, plan.why.get("retrain.channels", "fewer are faster")),
        Key("cells", plan.cells, "its depth, chosen together with the channels"),
        Key("epochs", plan.retrain_epochs, plan.why.get("retrain.epochs", "")),
    ]
    if target_side(survey) >= FILES_FROM:
        batch = batch_of(images, share=16, most=256)
        return [
            Key("network", "imagenet", "a stem that divides the image by 8"),
            *network,
            Key("batch_size", batch),
            Key("learning_rate", _digits(0.5 * batch / 1024), "0.5 at 1,024"),
            *_class_weights(survey.train_counts),
        ]
    batch = batch_of(images, share=16, most=128)
    return [
        Key("network", "cifar", "starts at full size"),
        *network,
        Key("batch_size", batch),
        *_class_weights(survey.train_counts),
    ]


def _unequal(counts: Sequence[int]) -> bool:
    return max(counts) >= _IMBALANCED * min(counts)


def _class_weights(counts: Sequence[int]) -> list[Key]:
    """Return the keys of a training on classes of `counts` images; none if they are much alike."""
    if not _unequal(counts):
        return []
    least, most = min(counts), max(counts)
    beta = 1 - _LARGEST_OVER_EFFECTIVE / most
    beta = round(min(max(beta, _LEAST_BETA), _LARGEST_BETA), 4)
    why = f"classes have {least:,} to {most:,} images; images of small ones count more"
    return [
        Key("class_weights", "effective", f"{why} (Cui et al. 2019); or sampler: balanced"),
        Key("class_weights_beta", beta, "for the largest class; 0.99 was measured with 300"),
    ]


def _check(text: str, survey: FolderSurvey) -> None:
    """Raise PipelineError if a run would refuse the config. The checks look at labels and sizes
    alone, so no image is decoded."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        write_atomically(path, text)
        config = load_config(path)
    same = Normalization((0.0,) * 3, (1.0,) * 3)

    def blank(data: DataConfig, key: str) -> ImageDataset:
        side = data.image_size or smallest_network_input("cifar")
        pixels = torch.zeros(1, 3, side, side, dtype=torch.uint8)
        splits = []
        for counts in (survey.train_counts, survey.test_counts):
            kept = torch.tensor(counts).clamp(max=data.images_per_class or max(counts))
            labels = torch.arange(len(kept)).repeat_interleave(kept)
            splits.append(ImageSet(pixels.expand(len(labels), -1, -1, -1), labels))
        train, test = splits
        return ImageDataset(key, survey.classes, train, test, same, crop_padding=0, flip=False)

    check_inputs(config, load_datasets(config, blank), torch.device("cpu"))


def _digits(rate: float) -> float:
    """Return the rate with two significant digits."""
    return float(f"{rate:.2g}")
