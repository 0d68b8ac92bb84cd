"""Writes a first config for an image folder, with the reason for each choice.

Rules of thumb, meant to be changed: the search sees small copies of the images, as in the paper;
the subset is its tenth unless classes are too small for that; batches leave an epoch enough steps.
Learning rates follow the batch where the standard one is far from it: with its root for the scorer
(Krizhevsky 2014), in proportion for the ImageNet network (Goyal et al. 2017).
"""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from classification.data.config import DataConfig
from classification.data.datasets import MAX_BYTES, ImageDataset
from classification.data.folder_survey import FolderSurvey
from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.persistence.storage import write_atomically
from pcdarts.network_kind import smallest_network_input
from pipeline.config import load_config
from pipeline.inputs import check_inputs, load_datasets
from subsample.selection import MIN_PER_CLASS

_SEARCH_SIDE = 32  # pixels, as in the paper
_TARGET_SIDE = 64  # of a retraining that holds its images in memory
_FILES_FROM = 128  # pixels, from which on images stay in their files
_IMAGENET_SIDE, _IMAGENET_FROM = 224, 200
_FRACTION = 0.1  # the paper's t
_KEPT_OF_MEDIAN = 10  # images of a class of middle size that a search should see at least
_KEPT = 128  # and of all classes together: two batches of 32 a half
_WORTHWHILE = 0.5  # the largest fraction that saves more than it costs to choose
_SCORER_STEPS = 1500  # 15 epochs of CIFAR-100 in batches of 512, as configs/scorers/fast.yaml
_IMBALANCED = 3  # times as many images in the largest class as in the smallest
_WIDTH = 24  # of what stands before a comment


@dataclass(frozen=True)
class _Key:
    """A line of a section, and why it says what it says."""

    name: str
    value: Any
    why: str = ""
    commented: bool = False


def initial_config(survey: FolderSurvey, name: str) -> str:
    """YAML with comments, a config called `name` for the folder.

    Raises PipelineError if a run on that folder would refuse what it says.
    """
    searched = replace(survey, train_counts=_in_memory(survey))
    scores = [_Key("draws", 10, "mixes of each image; more make the ranking more repeatable")]
    worthwhile = fraction_of(searched) < 1
    sections = {
        "data": _data(survey),
        "target": _target(survey),
        "scorer": _scorer(searched) if worthwhile else [],
        "scores": scores if worthwhile else [],
        "subset": _subset(searched),
        "search": _search(searched),
        "retrain": _retrain(survey),
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
        f"# Made by `init` for {_scalar(str(survey.root))}: {survey.describe()}.",
        "# Print every key and its default: python run_pipeline.py config THIS-FILE",
        f"name: {_scalar(name)}",
        _line("seed: 0", "all randomness is derived from it"),
    ]
    body = []
    for section, keys in sections.items():
        if keys:
            body += ["", _line(f"{section}:", what[section]), *map(_render, keys)]
    text = "\n".join([*opening, *body]) + "\n"
    _check(text, survey)
    return text


def fraction_of(survey: FolderSurvey) -> float:
    """The share of each class that leaves a class of middle size ten images and the search 128: a
    tenth where that does, all where it is more than half. The smallest classes keep two images."""
    counts = survey.train_counts
    least = (_KEPT_OF_MEDIAN / median(counts), _KEPT / sum(counts))
    fraction = max(_FRACTION, math.ceil(max(least) * 100) / 100)
    return fraction if fraction <= _WORTHWHILE else 1.0


def search_side(survey: FolderSurvey) -> int:
    """The side of the images that are searched on, pixels: small copies, hardly any enlarged."""
    return min(_SEARCH_SIDE, max(smallest_network_input("cifar"), survey.side(0.05)))


def target_side(survey: FolderSurvey) -> int:
    """The side of the images that the network is retrained on, pixels."""
    typical = survey.side(0.25)  # a quarter of the images are enlarged
    if typical >= _IMAGENET_FROM:
        return _IMAGENET_SIDE
    if typical >= _FILES_FROM:
        return _FILES_FROM
    if typical >= 1.5 * _SEARCH_SIDE:
        return min(_TARGET_SIDE, typical // 8 * 8)
    return search_side(survey)


def _data(survey: FolderSurvey) -> list[_Key]:
    side, most = search_side(survey), max(_in_memory(survey))
    keys = _where(survey)
    if survey.sizes == {(side, side)}:
        keys.append(_Key("image_size", side, "their own"))
    else:
        keys.append(_Key("image_size", side, "small copies suffice for a search; central square"))
    if most < max(survey.train_counts):
        keys.append(_Key("images_per_class", most, "all of them would not fit into memory"))
    keys.append(_Key("flip", False, "if left and right matter, as in digits", commented=True))
    return keys


def _target(survey: FolderSurvey) -> list[_Key]:
    side = target_side(survey)
    if side == search_side(survey):
        return []
    keys = _where(survey)
    if side >= _FILES_FROM:
        why = "images stay in their files; worker processes decode them"
    else:
        why = "at most a quarter of the images are enlarged"
    keys.append(_Key("image_size", side, why))
    images = survey.train_images + survey.test_images
    if side < _FILES_FROM and images * 3 * side * side > MAX_BYTES:
        keys.append(_Key("storage", "files", "all of them would not fit into memory"))
    return keys


def _in_memory(survey: FolderSurvey) -> tuple[int, ...]:
    """Training images of each class, cut to what fits into memory together."""
    fits = MAX_BYTES // (3 * search_side(survey) ** 2) - survey.test_images
    if survey.train_images <= fits:
        return survey.train_counts
    most = max(MIN_PER_CLASS, fits // len(survey.classes))
    return tuple(min(count, most) for count in survey.train_counts)


def _where(survey: FolderSurvey) -> list[_Key]:
    keys = [_Key("kind", "folder"), _Key("root", str(survey.root))]
    layout, config = survey.folder.layout, survey.config
    if layout.val_labels is not None:
        keys.append(_Key("val_labels", str(layout.val_labels), "the classes of a flat val/"))
    if config.hold_out is not None:
        keys.append(_Key("hold_out", config.hold_out, "of each class, as no images are held out"))
    if config.follow_links:
        keys.append(_Key("follow_links", True, "links may lead out of the folder"))
    turned = sum(header.turned for header in survey.headers)
    if turned:
        why = f"turns {turned:,} of the images looked at upright"
        keys.append(_Key("exif_orientation", True, why, commented=True))
    return keys


def _scorer(survey: FolderSurvey) -> list[_Key]:
    images, side = survey.train_images, search_side(survey)
    batch = _batch(images, share=16, most=512)
    epochs = max(15, min(60, math.ceil(_SCORER_STEPS * batch / images)))
    model, why = "resnet9", "seconds on a GPU; resnet8 is the light one for a CPU"
    if side < _SEARCH_SIDE // 2:
        model, why = "resnet8", f"light, and deep enough for {side} pixels"
    return [
        _Key("model", model, why),
        _Key("epochs", epochs, f"about {epochs * math.ceil(images / batch):,} steps"),
        _Key("batch_size", batch),
        _Key("learning_rate", _digits(0.4 * (batch / 512) ** 0.5), "0.4 at 512"),
        _Key("weight_decay", 5.0e-4),
        _Key("schedule", "one_cycle"),
        _Key("mixing", {"kind": "dcutmix", "num_images": 5, "alpha": 0.2}, "the paper's"),
    ]


def _subset(survey: FolderSurvey) -> list[_Key]:
    fraction, smallest = fraction_of(survey), min(survey.train_counts)
    if fraction == 1:
        why = f"a part of {survey.train_images:,} images would be too few for a search"
        return [_Key("measure", "full", why)]
    why = "the paper's t"
    if fraction > _FRACTION:
        why = f"a tenth of {survey.train_images:,} images would be too few"
    keys = [
        _Key("measure", "cv", "the paper's; random needs no scorer"),
        _Key("fraction", fraction, why),
    ]
    if max(survey.train_counts) >= _IMBALANCED * smallest:
        keys[1] = _Key("fraction", fraction, f"{why}; of each class, and 2 at least")
    return keys


def _search(survey: FolderSurvey) -> list[_Key]:
    fraction = fraction_of(survey)
    kept = [max(MIN_PER_CLASS, round(fraction * count)) for count in survey.train_counts]
    half = sum(kept) // 2
    batch = _batch(half, share=8, most=256)
    return [
        _Key("epochs", 50, "the paper's"),
        _Key("warmup_epochs", 15, "warm-up: the architecture is frozen"),
        _Key("batch_size", batch, f"of the {half:,} images of a half"),
    ]


def _retrain(survey: FolderSurvey) -> list[_Key]:
    images = survey.train_images
    if target_side(survey) >= _FILES_FROM:
        batch = _batch(images, share=16, most=256)
        return [
            _Key("network", "imagenet", "a stem that divides the image by 8"),
            _Key("channels", 48, "fewer are faster"),
            _Key("cells", 14),
            _Key("epochs", 100, "the paper's on ImageNet: 250"),
            _Key("batch_size", batch),
            _Key("learning_rate", _digits(0.5 * batch / 1024), "0.5 at 1,024"),
        ]
    batch = _batch(images, share=16, most=128)
    return [
        _Key("network", "cifar", "starts at full size"),
        _Key("channels", 36, "fewer are faster"),
        _Key("cells", 20),
        _Key("epochs", 100, "the paper's on CIFAR: 600"),
        _Key("batch_size", batch),
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
    """Two of them."""
    return float(f"{rate:.2g}")


def _batch(images: int, share: int, most: int) -> int:
    """A power of two: `share` of them an epoch where that leaves 32 images, `most` at most."""
    wanted = max(images // share, min(32, images))
    return min(most, 2 ** int(math.log2(max(2, wanted))))


def _render(key: _Key) -> str:
    mark = "# " if key.commented else ""
    return _line(f"  {mark}{key.name}: {_scalar(key.value)}", key.why)


def _line(text: str, why: str = "") -> str:
    return f"{text:{_WIDTH}} # {why}" if why else text


def _scalar(value: Any) -> str:
    """A value as YAML reads it back, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./~+-]+", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
    return f"{value:.1e}" if isinstance(value, float) and value < 1e-3 else str(value)
