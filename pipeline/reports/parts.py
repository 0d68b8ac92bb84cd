"""Parts that every report of a subset has: what its stages cost, and its images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from classification.data.datasets import ImageDataset
from classification.persistence.arrays import read_array
from evaluate.figures.cost import cost_bars
from evaluate.figures.training import cv_histogram, save_figure, subset_gallery
from pipeline.config import PipelineConfig
from pipeline.reports.page import cost_row
from pipeline.stages import scores, subset
from pipeline.store.ledger import format_hours
from pipeline.store.store import Artifact, Store
from subsample.selection import Subset
from subsample.uncertainty import summarise


def stage_cost_row(
    name: str, artifact: Artifact, store: Store, config: PipelineConfig
) -> dict[str, Any]:
    """A stage's row of the table of costs."""
    notes = []
    if name == "scorer" and config.scorer.weights is not None:
        notes.append("loaded; what its training cost elsewhere is not counted")
    return cost_row(name, store.ledger.attempts([artifact.fingerprint]), config.name, notes)


def draw_costs(folder: Path, cost: Mapping[str, Any]) -> None:
    """Write cost.png; a stage that ran on both kinds of device shows its sum of hours."""
    stages = {
        name: sum(hours.values()) if isinstance(hours, dict) else hours
        for name, hours in cost["stages"].items()
    }
    save_figure(cost_bars(stages, cost["unit"]), folder / "cost.png")


def draw_subset(
    folder: Path, config: PipelineConfig, data: ImageDataset, artifacts: Mapping[str, Artifact]
) -> bool:
    """Write gallery.png and cv.png, where the images were scored; returns whether they were."""
    if "scores" not in artifacts:
        return False
    cv = summarise(read_array(artifacts["scores"].path / scores.LOSSES, 2), config.scores).cv
    selected = np.zeros(len(cv), dtype=bool)
    selected[list(Subset.load(artifacts["subset"].path / subset.SUBSET).indices)] = True
    train = data.in_memory()
    images, labels = train.images.numpy(), train.labels.numpy()
    save_figure(subset_gallery(images, labels, data.classes, cv), folder / "gallery.png")
    save_figure(cv_histogram(cv, selected), folder / "cv.png")
    return True


def show_hours(hours: float | dict[str, float], divisor: int = 1) -> str:
    """Hours as results.json holds them, for a person; of both kinds of device where both served."""
    if isinstance(hours, dict):
        gpu, cpu = (format_hours(hours[key] / divisor) for key in ("gpu_hours", "cpu_hours"))
        return f"{gpu} GPU + {cpu} CPU"
    return format_hours(hours / divisor)
