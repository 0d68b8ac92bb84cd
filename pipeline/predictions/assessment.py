"""Compares predictions with labels: accuracy, classes, confusions, calibration, worst mistakes."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classification.persistence.storage import write_atomically
from evaluate.calibration import Bin, calibration_bins, calibration_error
from evaluate.confusion import Counts, balanced_accuracy, class_errors
from evaluate.figures.calibration import reliability_diagram
from evaluate.figures.confusion import confusion_matrix
from evaluate.figures.style import save_figure
from pipeline.predictions.predictor import Predictions

CONFUSION, CLASSES, WRONG, SUMMARY = "confusion.csv", "classes.csv", "wrong.csv", "assessment.json"
MATRIX, DIAGRAM = "confusion.png", "calibration.png"
FILES = (CONFUSION, CLASSES, WRONG, SUMMARY, MATRIX, DIAGRAM)
MOST_WRONG = 20
_TOP = 5


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for `predicted` with this probability, and is of class `true`."""

    file: Path
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True, eq=False)
class Assessment:
    """How predictions compare with labels, over the images that could be read."""

    class_names: tuple[str, ...]
    counts: Counts
    top5_correct: int
    bins: list[Bin]
    mistakes: list[Mistake]
    """All, the most confident first."""

    @property
    def images(self) -> int:
        return int(self.counts.sum())

    @property
    def correct(self) -> int:
        return int(self.counts.trace())

    def summary(self) -> dict[str, Any]:
        """Return all figures as JSON values; errors in percent, the calibration error in [0, 1]."""
        return {
            "images": self.images,
            "correct": self.correct,
            "top1_error": 100 * (1 - self.correct / self.images),
            "top5_error": 100 * (1 - self.top5_correct / self.images),
            "balanced_accuracy": balanced_accuracy(self.counts),
            "calibration_error": calibration_error(self.bins),
            "calibration_bins": [asdict(each) for each in self.bins],
            "classes": self.classes(),
            "most_confidently_wrong": [
                {**asdict(each), "file": _utf8(each.file)} for each in self.mistakes[:MOST_WRONG]
            ],
        }

    def classes(self) -> list[dict[str, Any]]:
        """Return a row for each class: images, top-1 error, and precision; both in percent, None
        without images or predictions."""
        errors, predicted = class_errors(self.counts), self.counts.sum(0).tolist()
        images, right = self.counts.sum(1).tolist(), self.counts.diagonal().tolist()
        return [
            {
                "class": name,
                "images": images[label],
                "correct": right[label],
                "top1_error": errors[label],
                "predicted": predicted[label],
                "precision": 100 * right[label] / predicted[label] if predicted[label] else None,
            }
            for label, name in enumerate(self.class_names)
        ]

    def describe(self) -> list[str]:
        """Return a few lines for a person, the worst classes and mistakes first."""
        found = self.summary()
        top5 = f", top-5 {100 - found['top5_error']:.2f} %" if len(self.class_names) > _TOP else ""
        lines = [
            f"top-1 accuracy {100 - found['top1_error']:.2f} % ({self.correct:,} of "
            f"{self.images:,}){top5}, balanced {found['balanced_accuracy']:.2f} %",
            f"expected calibration error {100 * found['calibration_error']:.2f} % "
            f"({len(self.bins)} bins)",
            f"{'class':24} {'images':>7} {'error %':>8} {'precision %':>12}",
        ]
        seen = [row for row in found["classes"] if row["images"] or row["predicted"]]
        lines += [
            f"{row['class']:24} {row['images']:7,} {_figure(row['top1_error']):>8} "
            f"{_figure(row['precision']):>12}"
            for row in sorted(seen, key=lambda row: -(row["top1_error"] or 0))
        ]
        if self.mistakes:
            lines.append("most confidently wrong:")
        lines += [
            f"  {each.file}: {each.predicted} {100 * each.probability:.1f} %, is {each.true}"
            for each in self.mistakes[:MOST_WRONG]
        ]
        return lines


def assess(predictions: Predictions, labels: Sequence[int]) -> Assessment:
    """Compare predictions with `labels`, a class index for each of the images.

    Raises ValueError if there are no images.
    """
    if not len(predictions) == len(labels) > 0:
        raise ValueError(f"{len(predictions)} predictions, {len(labels)} labels; allowed: as many")
    true, names = np.asarray(labels), predictions.class_names
    predicted = predictions.logits.argmax(1)
    confidence = predictions.probabilities.max(1)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, predicted), 1)
    top5 = np.argsort(-predictions.logits, axis=1, kind="stable")[:, :_TOP]
    wrong = np.flatnonzero(true != predicted)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return Assessment(
        names,
        counts,
        int((top5 == true[:, None]).sum()),
        calibration_bins(confidence, true == predicted),
        [
            Mistake(
                predictions.files[row],
                names[true[row]],
                names[predicted[row]],
                float(confidence[row]),
            )
            for row in worst
        ],
    )


def write_assessment(found: Assessment, folder: Path, about: Mapping[str, Any]) -> None:
    """Write the tables, the two figures, and assessment.json, which begins with `about`."""
    folder.mkdir()
    names = found.class_names
    write_table(
        folder / CONFUSION,
        [["true \\ predicted", *names]]
        + [[name, *row] for name, row in zip(names, found.counts.tolist(), strict=True)],
    )
    rows = found.classes()
    write_table(folder / CLASSES, [list(rows[0]), *(list(row.values()) for row in rows)])
    wrong = [[each.file, each.true, each.predicted, each.probability] for each in found.mistakes]
    write_table(folder / WRONG, [["file", "class", "predicted", "probability"], *wrong])
    title = f"top-1 accuracy {100 * found.correct / found.images:.2f} % (n = {found.images:,})"
    save_figure(confusion_matrix(found.counts, names, title), folder / MATRIX)
    error = calibration_error(found.bins)
    save_figure(reliability_diagram(found.bins, error), folder / DIAGRAM)
    text = json.dumps({**about, **found.summary()}, indent=1)
    write_atomically(folder / SUMMARY, text + "\n")


def write_table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write CSV; a file's name need not be UTF-8, and its bytes are written as they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _utf8(file: Path) -> str:
    """A file's name need not be UTF-8, which JSON has to be."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
