"""Subset: which images of each class are kept (Jeong et al. 2023, Eq. 9)."""

import json
import math
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from classification.checkpoint import write_atomically
from classification.errors import ArtifactError, ConfigError
from classification.seeding import make_generator
from subsample.baselines import DropoutConfig
from subsample.uncertainty import Scores

MIN_PER_CLASS = 2  # one image for each half of the search: weights, and α, β
_MAX_BYTES = 1 << 28  # of a subset file; ten million indices take a third of it

Measure = Literal[
    "cv", "mean_high", "mean_low", "std", "mc_dropout", "k_center", "el2n", "random", "full"
]
Order = Literal["deterministic", "interval"]
_Index = Annotated[int, Field(ge=0, lt=2**31)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]


class SubsetConfig(BaseModel, frozen=True, extra="forbid"):
    """Which images of each class the search sees."""

    measure: Measure = Field(
        "cv",
        description="what puts an image first: a high coefficient of variation (the paper's), a "
        "high or low mean loss, a high standard deviation, uncertainty under dropout, being far "
        "from those before it (k-center), a long error (EL2N), or chance; full keeps every image",
    )
    fraction: float = Field(
        0.1, gt=0, le=1, description="share of each class kept (the paper's t); 1 under full"
    )
    order: Order = Field(
        "deterministic",
        description="the first images of the order, or every n-th one (Section III-C of the paper)",
    )

    dropout: DropoutConfig = Field(DropoutConfig(), description="Monte-Carlo dropout of mc_dropout")

    @model_validator(mode="before")
    @classmethod
    def _full_keeps_all(cls, values: Any) -> Any:
        # A baseline inherits its fraction from the config it is compared with.
        if isinstance(values, dict) and values.get("measure") == "full":
            return values | {"fraction": 1.0}
        return values

    @property
    def needs_scores(self) -> bool:
        """Whether the measure reads the losses, so that a scorer has to be trained first."""
        return self.measure in ("cv", "mean_high", "mean_low", "std")

    @property
    def needs_baseline(self) -> bool:
        """Whether the measure reads the scorer otherwise than by its losses under mixing."""
        return self.measure in ("mc_dropout", "k_center", "el2n")


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The images kept, and all that decided it.

    `indices` count within the split; `class_histogram` maps class names to images kept; `scorer` is
    the fingerprint of the scorer behind the measure, None if it needs none.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    content_hash: str
    split: Literal["train"] = "train"
    measure: Measure
    order: Order
    fraction: Annotated[float, Field(gt=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    scorer: str | None
    class_histogram: dict[str, _Count]
    indices: tuple[_Index, ...]

    def save(self, path: Path) -> None:
        """Write the subset as JSON, one key a line."""
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in asdict(self).items()]
        write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, path: Path) -> "Subset":
        """Read what `save` wrote. Raises ArtifactError if the file is missing or not a subset."""
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ArtifactError(f"{path}: larger than a subset can be ({_MAX_BYTES} bytes)")
            subset = TypeAdapter(cls).validate_json(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise ArtifactError(f"{path}: not a subset: {_describe(error)}") from error
        if len(set(subset.indices)) != len(subset.indices):
            raise ArtifactError(f"{path}: not a subset: indices: found one twice; allowed: once")
        counted = sum(subset.class_histogram.values())
        if counted != len(subset.indices) or not subset.indices:
            raise ArtifactError(
                f"{path}: not a subset: {len(subset.indices)} indices, but the class histogram "
                f"counts {counted}; allowed: as many, and at least one"
            )
        return subset

    def check_against(self, content_hash: str, num_images: int) -> None:
        """Raise ArtifactError unless the subset was taken from these training images."""
        if self.content_hash != content_hash:
            raise ArtifactError(
                f"subset of {self.dataset}: taken from images with content hash "
                f"{self.content_hash:.12}, but these have {content_hash:.12}; select again"
            )
        if max(self.indices) >= num_images:
            raise ArtifactError(
                f"subset of {self.dataset}: index {max(self.indices)} found; allowed: 0 to "
                f"{num_images - 1}"
            )


def select(
    labels: np.ndarray,
    config: SubsetConfig,
    scores: Scores | np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Indices of the images kept, int64, ascending (Eq. 9).

    Of every class in `labels` int [N], round(fraction · N_class) images and at least one; ties in
    the measure go to the lower index. `seed` matters to `random` only. Raises ValueError if the
    measure needs scores and there are none, or not one an image.
    """
    order = _order(len(labels), config, scores, seed)
    kept = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        kept.append(members[_positions(len(members), config)])
    return np.sort(np.concatenate(kept))


def class_histogram(labels: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """How many of `labels` int [N] fall in each of `classes`."""
    counts = np.bincount(labels, minlength=len(classes))
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def check_selection(labels: np.ndarray, config: SubsetConfig, classes: Sequence[str]) -> None:
    """Raise ConfigError if a class would keep too few images for the search's two halves."""
    counts = class_histogram(labels, classes)
    name = min(counts, key=lambda each: counts[each])
    count = counts[name]
    if count < MIN_PER_CLASS:
        raise ConfigError(
            f"subset.fraction: class {name} has {count} training images; allowed: at least "
            f"{MIN_PER_CLASS} a class, one for each half of the search"
        )
    kept = _num_kept(count, config.fraction)
    if kept < MIN_PER_CLASS:
        raise ConfigError(
            f"subset.fraction: {config.fraction} keeps {kept} of the {count} images of class "
            f"{name}; allowed: at least {_smallest_fraction(count)}, which keeps {MIN_PER_CLASS}, "
            "one for each half of the search"
        )


def _order(
    num_images: int, config: SubsetConfig, scores: Scores | np.ndarray | None, seed: int
) -> np.ndarray:
    """All images, those the measure puts first in front, int64 [N]."""
    if config.measure == "random":
        return torch.randperm(num_images, generator=make_generator(seed, "subset")).numpy()
    if config.measure == "full":
        return np.arange(num_images)
    if config.needs_baseline and isinstance(scores, np.ndarray) and len(scores) == num_images:
        return np.argsort(-scores, kind="stable")
    if not isinstance(scores, Scores) or len(scores.cv) != num_images:
        found = "none" if scores is None else "others"
        raise ValueError(f"{config.measure} needs the scores of {num_images} images, found {found}")
    value = {
        "cv": -scores.cv,
        "mean_high": -scores.mean,
        "mean_low": scores.mean,
        "std": -scores.std,
    }[config.measure]
    return np.argsort(value, kind="stable")


def _describe(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"])) or "the file"
    given = problem["type"] not in ("missing", "json_invalid")
    found = f"found {reprlib.repr(problem['input'])}; " if given else ""
    return f"{key}: {found}{problem['msg']}"


def _num_kept(count: int, fraction: float) -> int:
    """Images kept of a class of `count`; a half rounds to the even number."""
    return max(1, round(fraction * count))


def _positions(count: int, config: SubsetConfig) -> np.ndarray:
    """Places in a class's order whose images are kept: the first ones, or at a fixed stride."""
    kept = _num_kept(count, config.fraction)
    places = np.arange(kept)
    # In integers, since a stride such as 10 / 3 times 3 could fall short of 10.
    return places * count // kept if config.order == "interval" else places


def _smallest_fraction(count: int) -> float:
    """The least fraction that keeps MIN_PER_CLASS of `count` images, rounded up to three digits."""
    least = (MIN_PER_CLASS - 0.5) / count
    unit = 10.0 ** (math.floor(math.log10(least)) - 2)
    fraction = float(f"{math.ceil(least / unit) * unit:.3g}")
    return fraction if _num_kept(count, fraction) >= MIN_PER_CLASS else fraction + unit
