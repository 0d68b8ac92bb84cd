"""TensorBoard event files of a run: curves during stages, pictures with the report.

runs/<name>/tensorboard/<stage>/ holds a stage's events; `tensorboard --logdir runs` shows all runs.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from classification.extras import require
from classification.persistence.workspace import read_metrics
from pipeline.config import flatten

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_UNDRAWN = ("epoch", "warmup", "genotype", "warnings")


def check_tensorboard() -> None:
    """Raise ConfigError, with the install command, if TensorBoard is missing."""
    require("--tensorboard", "tracking", "tensorboard")


class Tracker:
    """Writes the stages' metrics as events; a resumed run writes its curves again."""

    def __init__(self, folder: Path) -> None:
        """Empty `folder`; its events are written again from the stages' files."""
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self._writers: dict[str, SummaryWriter] = {}
        self._written: dict[str, int] = {}

    def watch(self, stage: str, directory: Path) -> None:
        """Write the new epochs of a stage's folder."""
        rows = read_metrics(directory)
        for number, row in enumerate(rows, 1):
            if number > self._written.get(stage, 0):
                self._write_row(stage, number, row)
        self._written[stage] = len(rows)

    def show(self, report: Path) -> None:
        for path in sorted(report.glob("*.png")):
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self._writer("report").add_image(path.stem, pixels, dataformats="HWC")
        self._writer("report").flush()

    def _write_row(self, stage: str, number: int, row: Mapping[str, Any]) -> None:
        """Numbers as curves, α and β as histograms; the step is the epoch or the row's number."""
        writer, epoch = self._writer(stage), int(row.get("epoch", number))
        if "genotype" in row:  # the genotype if the search ended here
            text = json.dumps(row["genotype"], indent=1)
            writer.add_text("genotype", f"```json\n{text}\n```", epoch)
        drawn = {name: value for name, value in row.items() if name not in _UNDRAWN}
        for name, value in flatten(drawn, "/").items():
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
