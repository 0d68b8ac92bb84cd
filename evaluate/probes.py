"""Probes: classifiers trained on a subset alone, which differ in their seed."""

import json
import shutil
from statistics import fmean
from typing import Any

import torch

from classification import classifier
from classification.config import ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import METRICS, Workspace
from classification.progress import PartOfWork
from classification.seeds import derive_seed
from evaluate.confusion import Counts, count_confusions

_FOLDER = "probe-"


def train_probes(
    number: int,
    dataset: ImageDataset,
    config: ClassifierConfig,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> tuple[list[list[dict[str, Any]]], Counts]:
    """Train `number` classifiers on `dataset.train`, resuming from the workspace.

    The first has `seed`, the others seeds derived from it. Return the metrics of each, a row per
    epoch, and the test images by true and predicted class, int64 [C, C], added up over the probes.
    The workspace's metrics are the means over the probes.
    """
    metrics, counts = [], []
    epochs = config.trained_epochs
    for index in range(number):
        # A single probe is trained in the workspace itself.
        inner = workspace if number == 1 else _part(workspace, index, number, epochs)
        model = classifier.train_classifier(
            dataset,
            config,
            seed=derive_seed(seed, "probe", index) if index else seed,
            device=device,
            workspace=inner,
        )
        metrics.append(inner.rows())
        counts.append(
            count_confusions(
                model, dataset, device=device, world=workspace.world, precision=config.precision
            )
        )
    if number > 1:
        lines = [json.dumps(_mean(rows)) + "\n" for rows in zip(*metrics, strict=True)]
        write_atomically(workspace.path(METRICS), "".join(lines))
    return metrics, sum(counts[1:], start=counts[0])


def discard_probes(workspace: Workspace) -> None:
    """Remove the folders of the probes, once the results are written."""
    for folder in workspace.directory.glob(f"{_FOLDER}*/"):
        shutil.rmtree(folder)


def _part(workspace: Workspace, index: int, number: int, epochs: int) -> Workspace:
    return Workspace(
        workspace.path(f"{_FOLDER}{index:04d}"),
        PartOfWork(workspace.progress, index * epochs, number * epochs),
        workspace.log,
        workspace.world,
    )


def _mean(rows: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return the mean of each column; the epoch, which is the same in all, stays an integer."""
    return {
        name: value if name == "epoch" else fmean(row[name] for row in rows)
        for name, value in rows[0].items()
    }
