"""Comparison of the found network with the scorer, the classifier that a run trains anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from classification.config import SUPERNET
from evaluate.complexity import measure_complexity
from evaluate.confusion import CONFUSION, balanced_accuracy, read_confusions
from evaluate.statistics import difference_interval
from pipeline.config import PipelineConfig
from pipeline.reports.page import show_cost
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset

# Settings of data, beside its root, that choose the images of its evaluation.
_SPLIT = ("kind", "classes", "val_labels", "hold_out", "hold_out_seed")


def collect_scorer(
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    artifacts: Mapping[str, Artifact],
    cost: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return the scorer's errors, size and training hours for results.json; `cost` is its cost.
    `image_sizes` are those at which the scorer and the network were tested, pixels.

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
        "evaluated": data.evaluated,
        "same_images_as_network": on_the_same_images(config, data, target),
        "image_sizes": [data.image_size, target.image_size],
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


def on_the_same_images(config: PipelineConfig, data: ImageDataset, target: ImageDataset) -> bool:
    """Whether the images that both are evaluated on are the same, if perhaps of another size."""
    if data.content_hash == target.content_hash:
        return True
    one, other = (
        [config_of.root and config_of.root.resolve(), *(getattr(config_of, k) for k in _SPLIT)]
        for config_of in (config.data, config.target)
    )
    return one == other and data.test.labels.equal(target.test.labels)


def _sentence(scorer: Mapping[str, Any], error: float, training: str, retraining: str) -> str:
    if not scorer["same_images_as_network"]:
        return (
            "The scorer and the found network were tested on different images, so their errors "
            "cannot be compared."
        )
    number, shown = scorer["test_images"], f"{scorer['test_images']:,} {scorer['evaluated']} images"
    wrong, other = (round(each * number / 100) for each in (error, scorer["top1_error"]))
    if wrong == other:
        compared = "The scorer and the found network have the same error."
    else:
        which = ("higher", "more") if other > wrong else ("lower", "fewer")
        compared = (
            f"The scorer, {scorer['model']}, has a **{which[0]}** error than the found network "
            f"({scorer['top1_error']:.2f} % against {error:.2f} %, {abs(wrong - other):,} "
            f"{which[1]} of {shown})."
        )
    if scorer["training"] is None:
        spent = "The scorer was loaded; what its training cost is not known."
    else:
        spent = f"Training took {training} for the scorer and {retraining} for the network."
    own, network = scorer["image_sizes"]
    sizes = f"Both were tested on the same {shown}, at {own} and {network} pixels. "
    return f"{sizes if own != network else ''}{compared} {_verdict(wrong, other, number)} {spent}"


def _verdict(wrong: int, other: int, number: int) -> str:
    """Return whether the network is better than the scorer, of `wrong` and `other` wrong images;
    the interval takes the two for independent, so that of the same images is rather narrower."""
    low, high = (100 * end for end in difference_interval((wrong, number), (other, number)))
    interval = f"95 % interval of the difference: {low:+.1f} to {high:+.1f} points"
    if high < 0:
        return f"The found network is better by more than chance explains ({interval})."
    if low > 0:
        found = f"The found network is **worse** than the scorer ({interval})."
    else:
        found = (
            "The found network is **not shown to be better** than the scorer: on "
            f"{number:,} images the difference may be chance ({interval})."
        )
    return f"{found} More epochs or a larger budget (`init --budget`) may help."
