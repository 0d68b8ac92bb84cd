"""Comparison of the found network with the scorer, the classifier that a run trains anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classification.config import SUPERNET
from evaluate.complexity import measure_complexity
from evaluate.confusion import CONFUSION, balanced_accuracy, read_confusions
from pipeline.config import PipelineConfig
from pipeline.reports.page import show_cost
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset


def collect_scorer(
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    artifacts: Mapping[str, Artifact],
    cost: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return the scorer's errors, size and training hours for results.json; `cost` is its cost.

    None if the run has no scorer, or if the scorer is the supernet, which is no classifier to use.
    """
    from classification.models import build_classifier

    if "scorer" not in artifacts or config.scorer.model == SUPERNET:
        return None
    data, target = datasets["data"], datasets["target"]
    counts = read_confusions(artifacts["scorer"].path / CONFUSION)
    size = measure_complexity(
        lambda: build_classifier(config.scorer.model, data.num_classes), data.image_size
    )
    return {
        "model": config.scorer.model,
        "top1_error": round(100 * (1 - counts.trace() / counts.sum()), 4),
        "balanced_accuracy": round(balanced_accuracy(counts), 4),
        "test_images": int(counts.sum()),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "all_multiply_adds": size.all_multiply_adds,
        "training": None if config.scorer.weights is not None else cost["stages"]["scorer"],
        "same_images_as_network": data.content_hash == target.content_hash,
    }


def compare_with_scorer(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a sentence and the columns of a table; None if the run has no scorer to compare."""
    scorer, network, cost = results["scorer"], results["network"], results["cost"]
    if scorer is None:
        return None
    unit, error = cost["unit"], results["accuracy"]["top1_error_last"]
    retraining = show_cost(cost["stages"]["retrain"], unit)
    training = "loaded" if scorer["training"] is None else show_cost(scorer["training"], unit)
    rows = (
        ("found network", error, results["classes"], network, retraining),
        (f"scorer, {scorer['model']}", scorer["top1_error"], scorer, scorer, training),
    )
    return {
        "sentence": _sentence(scorer, error, training, retraining),
        "columns": {
            "classifier": [row[0] for row in rows],
            "top-1 error (%)": [f"{row[1]:.2f}" for row in rows],
            "balanced accuracy (%)": [f"{row[2]['balanced_accuracy']:.2f}" for row in rows],
            "parameters": [f"{row[3]['parameters']:,}" for row in rows],
            "multiply-adds, convolutions and classifier": [
                f"{row[3]['multiply_adds']:,}" for row in rows
            ],
            "training": [row[4] for row in rows],
        },
    }


def _sentence(scorer: Mapping[str, Any], error: float, training: str, retraining: str) -> str:
    if not scorer["same_images_as_network"]:
        return (
            "The scorer and the found network were tested on different images, so their errors "
            "cannot be compared."
        )
    images = round(abs(error - scorer["top1_error"]) * scorer["test_images"] / 100)
    if not images:
        start = "The scorer and the found network have the same error"
    else:
        which = ("higher", "more") if scorer["top1_error"] > error else ("lower", "fewer")
        start = (
            f"The scorer, {scorer['model']}, has a **{which[0]}** error than the found network "
            f"({scorer['top1_error']:.2f} % against {error:.2f} %, {images:,} {which[1]} of "
            f"{scorer['test_images']:,} test images)"
        )
    if scorer["training"] is None:
        return f"{start}. The scorer was loaded; what its training cost is not known."
    return f"{start}. Training took {training} for the scorer and {retraining} for the network."
