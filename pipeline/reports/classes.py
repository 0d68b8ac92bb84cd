"""Report section on the classes: error of each, balanced accuracy, confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.config import ClassifierConfig
from classification.training.class_balance import describe_balance
from evaluate.confusion import (
    CONFUSION,
    balanced_accuracy,
    class_errors,
    largest_confusions,
    read_confusions,
)
from evaluate.figures.confusion import confusion_matrix
from evaluate.retrain_config import RetrainConfig
from evaluate.statistics import wilson_interval
from pipeline.reports.picture import Picture
from pipeline.store.store import Artifact

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset

_MOST_ROWS = 20  # classes up to which all are in the table
_WORST = 10  # classes and confusions shown of more


@dataclass(frozen=True)
class ClassesSection:
    """A text, tables by caption (columns by title), and pictures."""

    text: str
    tables: Mapping[str, Mapping[str, list[str]]]
    pictures: list[Picture]


def collect_classes(
    artifact: Artifact, data: ImageDataset, training: ClassifierConfig | RetrainConfig
) -> dict[str, Any]:
    """Collect the results by class of a classifier trained on `data`, for results.json.

    Errors and the balanced accuracy are in percent; the rows of `confusion` are true classes. If
    there are several probes, `classifiers` is their number and `confusion` their sum; the images
    of `largest_confusions` and `test_images` are the mean of a probe. `interval` is the 95 %
    interval of the top-1 error, None for several probes; `guessing_error` is that of always naming
    the most frequent class of the images that are evaluated, `evaluated` their usual name.
    """
    counts = read_confusions(artifact.path / CONFUSION)
    number, per_class = int(counts.sum()), counts.sum(1)
    wrong = number - int(counts.trace())
    classifiers = max(1, number // len(data.test))  # several probes are added up
    kind, beta, sampler = training.class_weights, training.class_weights_beta, training.sampler
    sizes = data.train.labels.bincount(minlength=data.num_classes).tolist()
    return {
        "balanced_accuracy": round(balanced_accuracy(counts), 4),
        "evaluated": data.evaluated,
        "guessing_error": round(100 * (1 - float(per_class.max()) / number), 4),
        "interval": [round(100 * end, 4) for end in wilson_interval(wrong, number)]
        if classifiers == 1
        else None,
        "class_balance": describe_balance(kind, beta, sampler),
        "names": list(data.classes),
        "training_images": sizes,
        "test_images": (per_class // classifiers).tolist(),
        "top1_errors": [e if e is None else round(e, 4) for e in class_errors(counts)],
        "classifiers": classifiers,
        "largest_confusions": [
            asdict(each) | {"images": each.images / classifiers}
            for each in largest_confusions(counts)[:_WORST]
        ],
        "confusion": counts.tolist(),
    }


def show_classes(folder: Path, artifact: Artifact, found: Mapping[str, Any]) -> ClassesSection:
    """Return the section of `found`, from `collect_classes`; write its pictures into `folder`."""
    counts = read_confusions(artifact.path / CONFUSION)
    names, errors, sizes = found["names"], found["top1_errors"], found["training_images"]
    known = [label for label, error in enumerate(errors) if error is not None]
    worst = sorted(known, key=lambda label: -errors[label])
    few = len(names) <= _MOST_ROWS
    shown = known if few else worst[:_WORST]
    taken = {label: largest_confusions(counts, [label])[:1] for label in shown}
    caption = "Errors by class" if few else f"The {_WORST} classes of the highest error"
    tables = {
        caption: {
            "class": [names[label] for label in shown],
            "training images": [f"{sizes[label]:,}" for label in shown],
            f"{found['evaluated']} images": [f"{found['test_images'][label]:,}" for label in shown],
            "top-1 error (%)": [f"{errors[label]:.2f}" for label in shown],
            "most often taken for": [
                f"{names[most.predicted]} ({100 * most.share:.0f} %)" if most else "–"
                for most in (next(iter(taken[label]), None) for label in shown)
            ],
        }
    }
    if not few:
        most, probes = largest_confusions(counts)[:_WORST], found["classifiers"]
        images = "images" if probes == 1 else f"images, mean of {probes} probes"
        tables["The largest confusions"] = {
            "true class": [names[each.true] for each in most],
            "taken for": [names[each.predicted] for each in most],
            images: [f"{each.images / probes:,.{int(probes > 1)}f}" for each in most],
            "share of the true class (%)": [f"{100 * each.share:.0f}" for each in most],
        }
    top = 100 * counts.trace() / counts.sum()
    text = (
        f"Balanced accuracy, the mean over classes of the share recognised: "
        f"**{found['balanced_accuracy']:.2f} %**, against {top:.2f} % over all "
        f"{found['evaluated']} images. "
        f"Errors of the classes: {errors[worst[-1]]:.2f} to {errors[worst[0]]:.2f} %."
    )
    if max(sizes) != min(sizes):
        text += f" The classes have {min(sizes):,} to {max(sizes):,} training images."
    if found["class_balance"] != "none":
        text += f" Trained with {found['class_balance']}."
    if found["class_balance"].startswith("class weights"):
        text += f" Its training loss is weighted, the {found['evaluated']} loss is not."
    words = (
        f"Confusion matrix of {len(names)} classes; balanced accuracy "
        f"{found['balanced_accuracy']:.2f} percent."
    )
    figure = confusion_matrix(counts, names)
    picture = Picture.save(
        folder, "confusion", figure, f"Confusion matrix on the {found['evaluated']} images", words
    )
    return ClassesSection(text, tables, [picture])
