"""The mean and deviation with which a loaded classifier's training images were normalised.

A classifier trained elsewhere keeps its own: `adapt_inputs` converts the images, normalised with
the statistics of the dataset, where they enter the first convolution.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object

STATISTICS = "normalization.json"  # beside weights
_BESIDE = (STATISTICS, "config.json", "artifact.json")  # the last two: of exports and artifacts
_WITHIN = ("pretrained_cfg", "preprocessing")  # of timm's config.json, of a manifest

_Mean = Annotated[float, Field(ge=0, le=1)]
_Std = Annotated[float, Field(gt=0, le=1)]


class InputStatistics(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Mean and standard deviation of each channel, of pixels in [0, 1]."""

    mean: tuple[_Mean, _Mean, _Mean] = Field(description="subtracted from red, green, blue")
    std: tuple[_Std, _Std, _Std] = Field(description="divides red, green, blue")

    def save(self, folder: Path) -> None:
        """Write them beside weights in `folder`."""
        write_atomically(folder / STATISTICS, json.dumps(self.model_dump(mode="json")) + "\n")


# The authors' PyramidNet-110 (main.py of their CutMix code), whose checkpoint holds `net`.
AUTHORS = InputStatistics(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))


def statistics_beside(weights: Path) -> InputStatistics | None:
    """Return the statistics in a file that this project wrote beside `weights`, or timm did.

    None if there is no such file, or if it does not describe them.
    """
    for name in _BESIDE:
        try:
            content: Mapping[str, Any] = read_object(weights.parent / name)
        except ArtifactError:
            continue
        for each in (content, *(content.get(key) for key in _WITHIN)):
            if isinstance(each, Mapping) and {"mean", "std"} <= each.keys():
                try:
                    return InputStatistics(mean=each["mean"], std=each["std"])
                except ValidationError:
                    continue
    return None
