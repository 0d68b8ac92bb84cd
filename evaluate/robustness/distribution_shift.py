"""Accuracy on ImageNet-A, ImageNet-O (Hendrycks et al. 2021) or another dataset's images.

ImageNet-A: top-1 accuracy on adversarially filtered images of 200 of ImageNet's classes.
ImageNet-O: detection of images of unknown classes, against test images of 200 of ImageNet's
classes: the area under the precision-recall curve (AUPR) of the score -max softmax, with unknown as
the positive class. Logits are restricted to the 200 classes before the softmax, as published. With
another dataset's images the AUPR uses all of the classifier's classes and test images.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classification.data.config import DataConfig
from classification.data.datasets import ImageDataset, load_dataset
from classification.data.decoding import decode_images
from classification.data.file_index import FileIndex, FolderFiles
from classification.data.files import ImageFiles
from classification.data.folders import images_in, list_images
from classification.data.layout import Boundary, folders_in
from classification.data.loaders import Batch, Images
from classification.errors import ConfigError, DataError
from evaluate.robustness.attacks import PixelModel
from evaluate.robustness.config import ShiftConfig

NUM_CLASSES = 200  # of ImageNet-A, and of ImageNet-O

Measure = Callable[[], dict[str, Any]]

_KEY = "robustness.shift"
_OTHER = f"{_KEY}.out_of_distribution"
_CPU = torch.device("cpu")  # batches are made here, so that a device holds only one of them


def shift_measures(
    model: PixelModel, dataset: ImageDataset, config: ShiftConfig, batch_size: int
) -> Mapping[str, Measure]:
    """Return the functions that measure what `config` requests, by its keys.

    imagenet_a returns top1_accuracy, correct, images; the others aupr, images (of the other
    dataset) and known_images. The model must be in eval mode. Memory grows by one score per image.
    """
    inputs: Mapping[str, tuple[Callable[..., dict[str, Any]], Any]] = {
        "imagenet_a": (_imagenet_a, config.imagenet_a),
        "imagenet_o": (_imagenet_o, config.imagenet_o),
        "out_of_distribution": (_out_of_distribution, config.out_of_distribution),
    }
    return {
        name: partial(measure, model, dataset, where, batch_size)
        for name, (measure, where) in inputs.items()
        if where is not None
    }


def check_shift(config: ShiftConfig, dataset: ImageDataset) -> None:
    """Raise DataError or ConfigError, naming the setting, for images that cannot be measured."""
    for name, root in (("imagenet_a", config.imagenet_a), ("imagenet_o", config.imagenet_o)):
        if root is not None:
            key = f"{_KEY}.{name}"
            _places(_list_classes(root, key)[0], dataset, root, key)
    other = config.out_of_distribution
    if other is None:
        return
    if other.image_size not in (None, dataset.image_size):
        raise ConfigError(
            f"{_OTHER}.image_size: found {other.image_size}; allowed: none, or the classifier's "
            f"{dataset.image_size}"
        )
    if _load_other(other, dataset).digest() == dataset.test.digest():
        raise ConfigError(
            f"{_OTHER}: found the images that the classifier is evaluated on; allowed: those of "
            "another dataset"
        )


def out_of_distribution_aupr(known: NDArray[np.floating], unknown: NDArray[np.floating]) -> float:
    """Return the area under the precision-recall curve of scores of `known` [N] and `unknown` [M].

    The unknown images are the positive class and should score higher. It is the average precision
    (not interpolated), in [0, 1]; random scores give M / (N + M).
    """
    from sklearn.metrics import average_precision_score  # slow to import

    labels = np.concatenate([np.zeros(len(known)), np.ones(len(unknown))])
    return float(average_precision_score(labels, np.concatenate([known, unknown])))


def unknownness(logits: Tensor) -> Tensor:
    """Return -max softmax, float32 [N], of logits [N, L] (Hendrycks & Gimpel 2017)."""
    return -logits.float().softmax(1).amax(1)


def _imagenet_a(
    model: PixelModel, dataset: ImageDataset, root: Path, batch_size: int
) -> dict[str, Any]:
    places, files = _images_of_known_classes(root, dataset, "imagenet_a")
    correct = 0
    for images, labels in _batches(files, dataset, batch_size):
        predicted = _logits(model, images)[:, places].argmax(1).cpu()
        correct += int((predicted == labels).sum())
    return {"top1_accuracy": correct / len(files), "correct": correct, "images": len(files)}


def _imagenet_o(
    model: PixelModel, dataset: ImageDataset, root: Path, batch_size: int
) -> dict[str, Any]:
    """Measure the AUPR against the test images of the folder's 200 classes."""
    places, files = _images_of_known_classes(root, dataset, "imagenet_o")
    rows = torch.isin(dataset.test.labels.cpu(), places).nonzero().flatten()
    known = _scores(model, _loaded(dataset.test.take(rows), batch_size), places)
    return _aupr(known, _scores(model, _batches(files, dataset, batch_size), places))


def _out_of_distribution(
    model: PixelModel, dataset: ImageDataset, other: DataConfig, batch_size: int
) -> dict[str, Any]:
    known = _scores(model, _loaded(dataset.test, batch_size))
    return _aupr(known, _scores(model, _loaded(_load_other(other, dataset), batch_size)))


def _aupr(known: NDArray[np.float32], unknown: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "aupr": out_of_distribution_aupr(known, unknown),
        "images": len(unknown),
        "known_images": len(known),
    }


def _scores(
    model: PixelModel, batches: Iterator[Batch], places: Tensor | None = None
) -> NDArray[np.float32]:
    """Return the `unknownness` of all images [N], over the classes `places` or all."""
    found = []
    for images, _ in batches:
        logits = _logits(model, images)
        found.append(unknownness(logits if places is None else logits[:, places]).cpu())
    return torch.cat(found).numpy()


@torch.no_grad()
def _logits(model: PixelModel, images: Tensor) -> Tensor:
    logits: Tensor = model(images.to(model.device).float() / 255)
    return logits


def _loaded(images: Images, batch_size: int) -> Iterator[Batch]:
    return images.loader(batch_size, _CPU, training=False).batches()


def _batches(files: FileIndex, dataset: ImageDataset, batch_size: int) -> Iterator[Batch]:
    """Read the images of a folder in the same way as the classifier's test images."""
    test = dataset.test
    if isinstance(test, ImageFiles):
        yield from _loaded(replace(test, files=files, key=_KEY), batch_size)
        return
    size = test.image_size
    for rows in torch.arange(len(files)).split(batch_size):
        part = files.take(rows)
        yield decode_images(part.paths, size, decoding=dataset.decoding)[0], part.labels


def _load_other(other: DataConfig, dataset: ImageDataset) -> Images:
    """Load the other dataset's test images at the classifier's size, with minimal train images."""
    settings = {"image_size": dataset.image_size, "images_per_class": 2}
    return load_dataset(other.model_copy(update=settings), _OTHER).test


def _images_of_known_classes(
    root: Path, dataset: ImageDataset, name: str
) -> tuple[Tensor, FileIndex]:
    key = f"{_KEY}.{name}"
    names, files = _list_classes(root, key)
    return _places(names, dataset, root, key), files


def _places(names: list[str], dataset: ImageDataset, root: Path, key: str) -> Tensor:
    """Return the indices of the folder's classes among the classifier's, int64 [200]."""
    known = {name: index for index, name in enumerate(dataset.classes)}
    strange = [name for name in names if name not in known]
    if strange:
        raise DataError(
            f"{key}: {root / strange[0]} is not one of the classifier's {len(known)} classes "
            f"({len(strange)} such folders); allowed: folders with the names of its classes"
        )
    return torch.tensor([known[name] for name in names])


def _list_classes(root: Path, key: str) -> tuple[list[str], FileIndex]:
    """List the 200 class folders of `root` in sorted order, and their images."""
    if not root.is_dir():
        raise DataError(f"{key}: folder {root} not found; allowed: one of {NUM_CLASSES} classes")
    names = folders_in(root)
    if len(names) != NUM_CLASSES:
        raise DataError(f"{key}: {root}: found {len(names)} class folders; allowed: {NUM_CLASSES}")
    return names, FileIndex.of(root, names, (_images_of(root / name, root, key) for name in names))


def _images_of(folder: Path, root: Path, key: str) -> FolderFiles:
    try:
        files = images_in(folder, Boundary(root))
    except DataError as error:
        raise DataError(f"{key}: {error}") from error
    if not files.names:
        raise DataError(f"{key}: {folder}: found no images; allowed: at least 1 per class")
    return files


def digest_of_classes(root: Path, name: str) -> str:
    """Return the digest of the 200 class folders of `name`: imagenet_a or imagenet_o."""
    return _digest(_list_classes(root, f"{_KEY}.{name}")[1])


def digest_of_other(data: DataConfig) -> str:
    """Return the digest of a folder's test images."""
    return _digest(list_images(data, _OTHER).test)


def _digest(files: FileIndex) -> str:
    return ImageFiles(files, image_size=0).digest()
