"""TensorBoard event files of a run: curves while a stage works, pictures once the report stands.

runs/<name>/tensorboard/<stage>/ holds a stage's events; `tensorboard --logdir runs` shows all runs.
"""

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from classification.errors import ConfigError
from classification.persistence.workspace import read_metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_UNDRAWN = ("epoch", "warmup", "genotype", "warnings")
INSTALL = "pip install -r requirements-tracking.txt"


def check_tensorboard() -> None:
    """Raise ConfigError, with the command that mends it, if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(f"--tensorboard: found no tensorboard; allowed: after {INSTALL}")


class Tracker:
    """Writes what stages leave in their folders; a run that is resumed writes its curves again."""

    def __init__(self, folder: Path) -> None:
        """`folder` is emptied: the stages' own files hold all that was in it."""
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self._writers: dict[str, SummaryWriter] = {}
        self._written: dict[str, int] = {}

    def watch(self, stage: str, directory: Path) -> None:
        """Write the epochs that are new in a stage's folder, finished or not."""
        rows = read_metrics(directory)
        for row in rows[self._written.get(stage, 0) :]:
            self._write_row(stage, row)
        self._written[stage] = len(rows)

    def show(self, report: Path) -> None:
        """Add the pictures of a report."""
        for path in sorted(report.glob("*.png")):
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer("report").add_image(path.stem, pixels, dataformats="HWC")
        self._writer("report").flush()

    def _write_row(self, stage: str, row: Mapping[str, Any]) -> None:
        """Numbers as curves, α and β as histograms; the step is the epoch."""
        writer, epoch = self._writer(stage), int(row["epoch"])
        if "genotype" in row:  # of the search: what would be found if it ended here
            text = json.dumps(row["genotype"], indent=1)
            writer.add_text("genotype", f"```json\n{text}\n```", epoch)
        for name, value in _flat({k: v for k, v in row.items() if k not in _UNDRAWN}):
            if isinstance(value, list):
                writer.add_histogram(name, np.concatenate([np.ravel(v) for v in value]), epoch)
            elif value is not None:
                writer.add_scalar(name, value, epoch)
        writer.flush()

    def _writer(self, stage: str) -> "SummaryWriter":
        if stage not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            self._writers[stage] = SummaryWriter(str(self.folder / stage))
        return self._writers[stage]


def _flat(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values by their names, joined with a slash."""
    flat: list[tuple[str, Any]] = []
    for name, value in row.items():
        inner = isinstance(value, Mapping)
        flat += _flat(value, f"{prefix}{name}/") if inner else [(prefix + name, value)]
    return flat
