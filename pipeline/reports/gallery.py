"""Images of a subset in a report: highest and lowest CV, the distribution of CV, some mixes.

The mixes are drawn and scored again, and shown only if the losses equal the measured ones. Random
generators differ between CPU and GPU, so mixes scored on a GPU can be reproduced only on a GPU.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from classification.data.datasets import ImageDataset
from classification.persistence.arrays import read_array
from classification.training.trainer import to_device
from evaluate.figures.subset import cv_histogram, lowest_kept, subset_gallery
from evaluate.figures.visibility import visibility_map
from pipeline.config import PipelineConfig
from pipeline.reports.picture import Picture, save_files
from pipeline.stages import scores, subset
from pipeline.stages.scorer import WEIGHTS, ScorerNetwork
from pipeline.store.store import Artifact
from subsample.mixes import Mixes
from subsample.selection import Subset
from subsample.uncertainty import Scores, losses_of, mixed_images, redraw_mixes, summarise
from subsample.visibility import measure_visibility

GALLERY = "gallery"
GALLERY_CLASSES = 5  # of the picture
MOST_CLASSES, MOST_MIXES = 3, 6  # of report.html
_MOST_PIXELS = 96  # longer side of a tile
_TOLERANCE = 0.02  # nats, and relative: other mixes differ by much more, bf16 by less


@dataclass(frozen=True)
class Tile:
    """An image as a data URI, and the caption under it."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Strip:
    """An image, the mean and spread of its losses, and some of its mixes with the loss of each."""

    class_name: str
    which: str
    kept: bool
    image: Tile
    line: str
    mixes: list[Tile]


@dataclass(frozen=True)
class Gallery:
    """Strips of a few classes; `classes` says which, `note` explains missing mixes."""

    strips: list[Strip]
    note: str
    draws: int
    classes: str


def draw_subset(
    folder: Path, config: PipelineConfig, data: ImageDataset, artifacts: Mapping[str, Artifact]
) -> list[Picture]:
    """Draw the images of highest and lowest CV of each class, and the distribution of CV.

    Returns no pictures if the images were not scored under mixing. report.html has a separate
    gallery.
    """
    if "scores" not in artifacts:
        return []
    cv = summarise(read_array(artifacts["scores"].path / scores.LOSSES, 2), config.scores).cv
    chosen = Subset.load(artifacts["subset"].path / subset.SUBSET)
    train = data.in_memory()
    images, labels = train.images.numpy(), train.labels.numpy()
    kept = np.zeros(len(cv), dtype=bool)
    kept[list(chosen.all_indices)] = True
    cut = lowest_kept(cv, labels, kept) if chosen.measure == "cv" else None
    picture = subset_gallery(images, labels, data.classes, cv, max_classes=GALLERY_CLASSES)
    save_files(picture, folder, GALLERY)
    words = (
        f"Histogram of the CV of {len(cv):,} images, from {cv.min():.2f} to {cv.max():.2f}, median "
        f"{np.median(cv):.2f}; the subset's {int(kept.sum()):,} have a median of "
        f"{np.median(cv[kept]):.2f}."
    )
    spread = cv_histogram(cv, kept, cut)
    pictures = [Picture.save(folder, "cv", spread, "CV of all images", words)]
    if config.scores.source == "pass":
        pictures.append(_draw_visibility(folder, config, data))
    return pictures


def gallery_note(classes: Sequence[str]) -> str:
    """Return which classes the picture of highest and lowest CV shows, if not all."""
    if len(classes) <= GALLERY_CLASSES:
        return ""
    return (
        f"The picture shows the first {GALLERY_CLASSES} of the {len(classes):,} classes; "
        f"report.html shows {MOST_CLASSES}, evenly spread, with their mixes."
    )


def mixes_note(config: PipelineConfig) -> str:
    """Return that the mixes hide the middle by design, if they were drawn and do."""
    scored = config.scores
    hidden = (scored.source, scored.anchor, scored.fraction) == ("pass", "canvas", "fixed")
    if scored.box is not None or not hidden:
        return ""
    return (
        "The mixes hide the middle of the scored image by design: the boxes of the other images "
        "nest there (docs/method.md, “Scores: an image's loss under occlusion”)."
    )


def _draw_visibility(folder: Path, config: PipelineConfig, data: ImageDataset) -> Picture:
    """Draw how often each pixel of a scored image is seen in its mixes."""
    found = measure_visibility(data.in_memory().images, config.scores, config.seed)
    title = found.describe()
    words = f"{title}; over {found.mixes:,} mixes. Darker pixels are seen more often."
    return Picture.save(folder, "visibility", visibility_map(found.seen.numpy()), title, words)


def gallery(
    config: PipelineConfig, data: ImageDataset, artifacts: Mapping[str, Artifact]
) -> Gallery | None:
    """Build the gallery of report.html; None if the images were not scored under mixing."""
    if "scores" not in artifacts:
        return None
    losses = read_array(artifacts["scores"].path / scores.LOSSES, 2)
    summary = summarise(losses, config.scores)
    labels = data.in_memory().labels.numpy()
    kept = set(Subset.load(artifacts["subset"].path / subset.SUBSET).all_indices)
    shown = _extremes(labels, summary.cv)
    indices = [index for _, _, index in shown]
    mixes, note = _find_mixes(indices, config, data, artifacts["scorer"], losses)
    strips = [
        _strip(which, index, data, summary, index in kept, mixes.get(index), losses[index])
        for _, which, index in shown
    ]
    names = [data.classes[label] for label in dict.fromkeys(label for label, _, _ in shown)]
    few = len(names) == data.num_classes
    classes = "all classes" if few else f"{len(names)} of the {data.num_classes} classes"
    return Gallery(strips, note, losses.shape[1], f"{classes}: {', '.join(names)}")


def _extremes(labels: np.ndarray, cv: np.ndarray) -> list[tuple[int, str, int]]:
    """Return (class, which, index) of the images of highest and lowest CV in a few classes."""
    classes = np.unique(labels)
    picked = np.unique(np.linspace(0, len(classes) - 1, min(MOST_CLASSES, len(classes))).round())
    found = []
    for label in classes[picked.astype(int)].tolist():
        members = np.flatnonzero(labels == label)
        for which, index in (("highest", cv[members].argmax()), ("lowest", cv[members].argmin())):
            found.append((label, which, int(members[index])))
    return found


def _find_mixes(
    indices: Sequence[int],
    config: PipelineConfig,
    data: ImageDataset,
    scorer: Artifact,
    losses: np.ndarray,
) -> tuple[dict[int, Mixes], str]:
    """Return the scored mixes by image, on the CPU, and a note on missing ones."""
    if config.scores.source == "training":
        return {}, (
            "The losses were recorded during the scorer's training, on the mixes of its epochs, "
            "which are not kept."
        )
    model = ScorerNetwork.of(config).read(scorer.path / WEIGHTS, data)
    train = data.in_memory()
    found: dict[int, Mixes] = {}
    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        open_ = [index for index in indices if index not in found]
        if not open_:
            break
        device = torch.device(name)
        to_device(model, device)
        images, labels = train.images.to(device), train.labels.to(device)
        for index in open_:
            mixes = _some(redraw_mixes(index, images, config.scores, config.seed), losses[index])
            again = losses_of(
                mixes, model, images, labels, data.num_classes, data.normalization, config.scores
            )
            measured = torch.from_numpy(np.sort(losses[index])[_ranks(losses.shape[1])])
            if torch.allclose(again[0].cpu(), measured, _TOLERANCE, _TOLERANCE):
                found[index] = Mixes(mixes.sources.cpu(), mixes.owners.cpu(), mixes.weights.cpu())
    if len(found) == len(indices):
        return found, ""
    return found, (
        "Mixes that could not be reproduced are omitted: mixes drawn on a GPU can be reproduced "
        "only on a GPU."
    )


def _ranks(draws: int) -> np.ndarray:
    """Return the ranks of the losses to show: evenly from the lowest to the highest."""
    return np.linspace(0, draws - 1, min(draws, MOST_MIXES)).round().astype(int)


def _some(mixes: Mixes, losses: np.ndarray) -> Mixes:
    """Return the mixes to show, from the lowest loss to the highest."""
    order = torch.from_numpy(np.argsort(losses, kind="stable")[_ranks(len(losses))])
    order = order.to(mixes.sources.device)
    return Mixes(mixes.sources[:, order], mixes.owners[:, order], mixes.weights[:, order])


def _strip(
    which: str,
    index: int,
    data: ImageDataset,
    summary: Scores,
    kept: bool,
    mixes: Mixes | None,
    losses: np.ndarray,
) -> Strip:
    train = data.in_memory()
    name = data.classes[int(train.labels[index])]
    cv, mean, std = (float(values[index]) for values in (summary.cv, summary.mean, summary.std))
    image = Tile(
        _data_uri(train.images[index]), f"Image {index} of class {name}, unmixed", f"no. {index}"
    )
    tiles = []
    if mixes is not None:
        shown = np.sort(losses)[_ranks(len(losses))].tolist()
        pictures = mixed_images(mixes, train.images, data.normalization)
        for picture, loss, sources, weights in zip(
            pictures, shown, mixes.sources[0], mixes.weights[0], strict=True
        ):
            shares = [
                f"{100 * share:.0f} % {data.classes[int(train.labels[source])]}"
                for source, share in zip(sources.tolist(), weights.tolist(), strict=True)
            ]
            alt = f"Image {index} mixed: {', '.join(shares)}; loss {loss:.2f} nats"
            tiles.append(Tile(_data_uri(picture), alt, f"{loss:.2f}"))
    line = f"CV {cv:.2f}: loss {mean:.2f} ± {std:.2f} nats"
    return Strip(name, which, kept, image, line, tiles)


def _data_uri(image: Tensor) -> str:
    """Encode an image uint8 [C, H, W] as PNG, scaled down if it is large."""
    array = image.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
