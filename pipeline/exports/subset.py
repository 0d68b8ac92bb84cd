"""Exports a subset: manifest, table of images, and a recipe to load it elsewhere."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classification.data.config import DataConfig
from classification.data.datasets import ImageDataset, open_cifar, split_digits
from classification.data.file_index import FileIndex
from classification.data.folders import list_images
from classification.data.strata import first_of_each_class
from pipeline.exports.recorded_run import RecordedRun
from pipeline.reports.page import fill_template
from pipeline.stages.subset import SUBSET, read_scores
from subsample.imported import read_values
from subsample.measures import IMPORTED
from subsample.selection import Subset, ranks_in_class
from subsample.uncertainty import Scores

TABLE, FILE_LIST, README = "indices.csv", "files.txt", "README.md"
FILES = (SUBSET, TABLE, FILE_LIST, README)
WEIGHTS, ARCHITECTURE = "weights", "architecture"  # what an image is to train in a search

_MEANINGS = {
    "index": "of the image in torchvision's own dataset (scikit-learn's for digits); empty for a "
    "file that torchvision does not list",
    "place": "in the split that the run saw, which is what subset.json counts",
    "label": "class index",
    "class": "class name",
    "trains": "what a search is to use it for: `weights`, or `architecture` (α and β)",
    "mean": "of its losses under mixing, nats",
    "std": "standard deviation of these losses, nats",
    "cv": "coefficient of variation: std / mean",
    "rank": "in its class by the measure; 1 comes first",
    "file": "path below the folder's root",
}


@dataclass(frozen=True)
class Origins:
    """Of every training image its index in the whole, int64 [N], and its file if it has one.

    The whole is torchvision's train split of CIFAR, scikit-learn's digits with those for testing
    among them, or torchvision's ImageFolder of a folder's training images; -1 where that has no
    such file.
    """

    indices: Tensor
    files: FileIndex | None = None
    folder: Path | None = None  # that ImageFolder is given


def write_subset(run: RecordedRun, folder: Path) -> None:
    """subset.json, indices.csv, README.md, and files.txt where the images are files."""
    artifact = run.artifact("subset")
    subset = Subset.load(artifact.path / SUBSET)
    data = run.dataset("data", artifact)
    origins = find_origins(run.config.data)
    columns = _columns(run, subset, data, origins)
    folder.mkdir()
    shutil.copyfile(artifact.path / SUBSET, folder / SUBSET)
    _write(folder / TABLE, _as_csv(columns))
    if origins.files is not None:
        _write(folder / FILE_LIST, "".join(f"{file}\n" for file in columns["file"]))
    _write(folder / README, _recipe(run, subset, data, list(columns), origins) + "\n")


def _columns(
    run: RecordedRun, subset: Subset, data: ImageDataset, origins: Origins
) -> dict[str, Sequence[Any]]:
    """The table, a row an image, in the order of the split."""
    places = np.sort(np.array(subset.all_indices, dtype=np.int64))
    every_label = data.train.labels.numpy()
    labels = every_label[places].tolist()
    columns: dict[str, Sequence[Any]] = {
        "index": [i if i >= 0 else "" for i in origins.indices.numpy()[places].tolist()],
        "place": places.tolist(),
        "label": labels,
        "class": [data.classes[label] for label in labels],
    }
    if subset.architecture_indices is not None:
        beside = np.isin(places, subset.architecture_indices)
        columns["trains"] = np.where(beside, ARCHITECTURE, WEIGHTS).tolist()
    scores = scores_of(run, data)
    if isinstance(scores, Scores):
        measured = {"mean": scores.mean, "std": scores.std, "cv": scores.cv}
    else:
        measured = {} if scores is None else {subset.measure: scores}
    if subset.measure not in ("full", IMPORTED):
        ranks = ranks_in_class(every_label, run.config.subset, scores, run.config.seed)
        measured["rank"] = ranks
    columns |= {name: values[places].tolist() for name, values in measured.items()}
    if origins.files is not None:
        columns["file"] = _files(origins.files.take(torch.from_numpy(places)))
    return columns


def scores_of(run: RecordedRun, data: ImageDataset | None = None) -> Scores | np.ndarray | None:
    """Return what a run ranked its images by, [N]; None if by nothing measured.

    The images are read only where a file of scores has to be compared with them, and not if they
    are given as `data`.
    """
    subset, scores = run.config.subset, run.config.scores
    if subset.needs_file and scores.file is not None:
        return read_values(scores.file, data or run.dataset("data", run.artifact("subset")))
    return read_scores(subset, scores, run.path)


def _files(files: FileIndex) -> list[str]:
    """Paths from the folder's root on, with slashes."""
    return [os.fsdecode(path) for path, _, _ in files.entries()]


def _recipe(
    run: RecordedRun, subset: Subset, data: ImageDataset, columns: Sequence[str], origins: Origins
) -> str:
    config = run.config
    values = {
        "name": config.name,
        "subset": subset,
        "data": data,
        "kind": config.data.kind,
        "root": config.data.root,
        "folder": origins.folder,
        "columns": columns,
        "meanings": _MEANINGS | {subset.measure: _MEANINGS.get(subset.measure, "the measure")},
        "command": f"python run_pipeline.py export {config.name} --as subset",
    }
    return fill_template("exported_subset.md.j2", values)


def _write(path: Path, text: str) -> None:
    # A file's name need not be UTF-8; its bytes are written as they are.
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _as_csv(columns: dict[str, Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def find_origins(config: DataConfig, key: str = "data") -> Origins:
    """Those of `load_dataset(config).train`; no image is decoded. Raises what that raises."""
    if config.kind == "folder":
        return _in_folder(config, key)
    if config.kind == "digits":
        from sklearn.datasets import load_digits  # slow to import, and needed for this kind alone

        labels = torch.from_numpy(load_digits().target).long()
        whole, _ = split_digits(labels)
        labels = labels[whole]
    else:
        labels = torch.tensor(open_cifar(config, key)[0].targets)
        whole = torch.arange(len(labels))
    return Origins(whole[first_of_each_class(labels, config.classes, config.images_per_class)])


def _in_folder(config: DataConfig, key: str) -> Origins:
    from torchvision.datasets import folder  # slow to import, and needed for this kind alone

    found = list_images(config, key)
    root = str(found.layout.train)
    samples = folder.make_dataset(
        root, folder.find_classes(root)[1], folder.IMG_EXTENSIONS, allow_empty=True
    )
    places = {path: index for index, (path, _) in enumerate(samples)}
    indices = [places.get(str(path), -1) for path in found.train.paths]
    return Origins(torch.tensor(indices), found.train, found.layout.train)
