"""Selects the subset: a fraction of each class by a measure (Jeong et al. 2023, Eq. 9).

A search on it deals it into two equal halves, for the weights and for α and β; or the subset has a
list of its own for α and β, as PC-DARTS' search on ImageNet does (Xu et al. 2020, Section 4.3).
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from classification.errors import ArtifactError, ConfigError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_regular
from classification.seeding import make_generator
from subsample.measures import PROBABILITIES, Measure, Order
from subsample.orders import drawn_order, stratified_order
from subsample.subset_config import MIN_PER_CLASS, SelectionConfig
from subsample.uncertainty import Scores

_MAX_BYTES = 1 << 27  # of a subset file; ten million indices take two thirds of it

_Index = Annotated[int, Field(ge=0, lt=2**31)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The images kept, and all that decided it.

    `indices` count within the split; whatever trains on the subset trains on these. Images that a
    search is to use for α and β alone are not among them but in `architecture_indices`; None: it
    deals `indices` into two halves. `class_histogram` maps class names to images kept, in both
    lists together; `scorer` is the fingerprint of the scorer behind the measure, None if it needs
    none; `seed` is None if it decides nothing.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    content_hash: str
    split: Literal["train"] = "train"
    measure: Measure
    order: Order
    fraction: Annotated[float, Field(gt=0, le=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None
    scorer: str | None
    class_histogram: dict[str, _Count]
    indices: tuple[_Index, ...]
    architecture_indices: tuple[_Index, ...] | None = None

    @property
    def all_indices(self) -> tuple[int, ...]:
        return self.indices + (self.architecture_indices or ())

    def save(self, path: Path) -> None:
        """Write the subset as JSON, one key a line; without a second list as before there was one,
        so that its digest stays.
        """
        values = asdict(self)
        if self.architecture_indices is None:
            del values["architecture_indices"]
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in values.items()]
        write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, path: Path) -> "Subset":
        """Read what `save` wrote. Raises ArtifactError if the file is missing or not a subset."""
        try:
            subset = _SUBSET.validate_json(read_regular(path, _MAX_BYTES))
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise ArtifactError(f"{path}: not a subset: {_describe(error)}") from error
        except ValueError as error:
            raise ArtifactError(f"{path}: not a subset: {error}") from error
        subset._check_lists(path)
        return subset

    def check_against(self, content_hash: str, num_images: int) -> None:
        """Raise ArtifactError unless the subset was taken from these training images."""
        if self.content_hash != content_hash:
            raise ArtifactError(
                f"subset of {self.dataset}: taken from images with content hash "
                f"{self.content_hash:.12}, but these have {content_hash:.12}; select again"
            )
        if max(self.all_indices) >= num_images:
            raise ArtifactError(
                f"subset of {self.dataset}: index {max(self.all_indices)} found; allowed: 0 to "
                f"{num_images - 1}"
            )

    def _check_lists(self, path: Path) -> None:
        every, counted = self.all_indices, sum(self.class_histogram.values())
        if len(set(every)) != len(every):
            raise ArtifactError(f"{path}: not a subset: indices: found one twice; allowed: once")
        if counted != len(every) or not self.indices or self.architecture_indices == ():
            raise ArtifactError(
                f"{path}: not a subset: {len(every)} indices, but the class histogram counts "
                f"{counted}; allowed: as many, and at least one in a list"
            )


_SUBSET = TypeAdapter(Subset)


def select(
    labels: np.ndarray, config: SelectionConfig, scores: Scores | np.ndarray | None, seed: int
) -> np.ndarray:
    """Indices of the images kept, those for α and β alone left out, int64, ascending (Eq. 9).

    Of every class in `labels` int [N], round(fraction · N_class) images and at least two, one for
    each half of the search (one beside `architecture_fraction`); ties in the measure go to the
    lower index. `seed` matters to `random` and to `architecture_fraction` only. Raises ValueError
    if the measure needs scores and there are none, or not one an image.
    """
    return select_parts(labels, config, scores, seed)[0]


def select_parts(
    labels: np.ndarray, config: SelectionConfig, scores: Scores | np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """As `select`, and the images for α and β alone, None without `architecture_fraction`.

    Of those, every class has round(architecture_fraction · N_class), or what is left of it. The
    measure chooses both together, and chance deals them out class by class, so that the two lists
    are alike.
    """
    generator = make_generator(seed, "subset-architecture")
    weights, architecture = [], []
    for members in _classes_in_order(labels, config, scores, seed):
        first, second = config.num_in_parts(len(members))
        chosen = members[_positions(len(members), first + second, config)]
        if config.architecture_fraction is not None:
            chosen = chosen[torch.randperm(len(chosen), generator=generator).numpy()]
        weights.append(chosen[:first])
        architecture.append(chosen[first:])
    kept = np.sort(np.concatenate(weights))
    both = config.architecture_fraction is not None
    return kept, np.sort(np.concatenate(architecture)) if both else None


def ranks_in_class(
    labels: np.ndarray, config: SelectionConfig, scores: Scores | np.ndarray | None, seed: int
) -> np.ndarray:
    """The place of each image in its class's order, int64 [N]: 1 is what the measure puts first.

    Arguments are those of `select`.
    """
    ranks = np.empty(len(labels), dtype=np.int64)
    for members in _classes_in_order(labels, config, scores, seed):
        ranks[members] = np.arange(1, len(members) + 1)
    return ranks


def ranked_by(scores: Scores, measure: Measure) -> np.ndarray:
    """What a measure of the losses ranks the images by, [N]: the highest are kept."""
    values = {
        "cv": scores.cv,
        "mean_high": scores.mean,
        "mean_low": -scores.mean,
        "std": scores.std,
    }
    return values[measure]


def class_histogram(labels: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """How many of `labels` int [N] fall in each of `classes`."""
    counts = np.bincount(labels, minlength=len(classes))
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def check_selection(labels: np.ndarray, config: SelectionConfig, classes: Sequence[str]) -> None:
    """Raise ConfigError if a class would keep too few images for the search's two parts."""
    counts = class_histogram(labels, classes)
    name = min(counts, key=lambda each: counts[each])
    count = counts[name]
    if count < MIN_PER_CLASS:
        raise ConfigError(
            f"subset.fraction: class {name} has {count} training images; allowed: at least "
            f"{MIN_PER_CLASS} a class, one for each half of the search"
        )
    if config.architecture_fraction is not None:
        _check_architecture_part(counts, config)


def describe_small_classes(labels: np.ndarray, config: SelectionConfig) -> str | None:
    """A line on classes that keep more than their fraction, so as to keep two images, if any."""
    if config.architecture_fraction is not None:
        return None
    counts = np.bincount(labels)
    number = sum(round(config.fraction * int(count)) < MIN_PER_CLASS for count in counts)
    if not number:
        return None
    return (
        f"{number} of {len(counts)} classes keep {MIN_PER_CLASS} images, more than "
        f"{config.fraction:g} of theirs: the search needs one in each half"
    )


def describe_equal_values(
    labels: np.ndarray,
    config: SelectionConfig,
    scores: Scores | np.ndarray | None,
    classes: Sequence[str],
) -> str | None:
    """A line on classes whose images the measure does not tell apart, if any."""
    if config.measure in ("random", "full"):
        return None
    values = _values(len(labels), config, scores, seed=0)
    low, high = np.full(len(classes), np.inf), np.full(len(classes), -np.inf)
    np.minimum.at(low, labels, values)
    np.maximum.at(high, labels, values)
    counts = class_histogram(labels, classes)
    equal = [
        name
        for name, same in zip(classes, low == high, strict=True)
        if same and sum(config.num_in_parts(counts[name])) < counts[name]  # else none is left out
    ]
    if not equal:
        return None
    more = f" (and of {len(equal) - 1} more)" if len(equal) > 1 else ""
    how = "by index" if config.order in ("deterministic", "interval") else "at random"
    return f"all values of class {equal[0]}{more} are equal: its subset is chosen {how}"


def _classes_in_order(
    labels: np.ndarray, config: SelectionConfig, scores: Scores | np.ndarray | None, seed: int
) -> list[np.ndarray]:
    """The images of each class, those the measure puts first in front."""
    values = _values(len(labels), config, scores, seed)
    generator = make_generator(seed, "subset-order")
    if config.order in PROBABILITIES:
        order = drawn_order(values, config.order, config.bin_width, generator)
    else:
        order = np.argsort(-values, kind="stable")
    order = order[np.argsort(labels[order], kind="stable")]
    classes = np.split(order, np.cumsum(np.unique(labels, return_counts=True)[1])[:-1])
    if config.order != "ccs":
        return classes
    return [each[stratified_order(values[each], config.ccs, generator)] for each in classes]


def _values(
    num_images: int, config: SelectionConfig, scores: Scores | np.ndarray | None, seed: int
) -> np.ndarray:
    """What the images are ranked by, [N]: the highest come first."""
    if config.measure == "random":
        order = torch.randperm(num_images, generator=make_generator(seed, "subset")).numpy()
        return -np.argsort(order)
    if config.measure == "full":
        return np.zeros(num_images)
    ranked = config.needs_baseline or config.needs_file
    if ranked and isinstance(scores, np.ndarray) and len(scores) == num_images:
        return -scores if config.measure == "score_low" else scores
    if not isinstance(scores, Scores) or len(scores.cv) != num_images:
        found = "none" if scores is None else "others"
        raise ValueError(f"{config.measure} needs the scores of {num_images} images, found {found}")
    return ranked_by(scores, config.measure)


def _describe(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"])) or "the file"
    given = problem["type"] not in ("missing", "json_invalid")
    found = f"found {reprlib.repr(problem['input'])}; " if given else ""
    return f"{key}: {found}{problem['msg']}"


def _check_architecture_part(counts: Mapping[str, int], config: SelectionConfig) -> None:
    for name, count in counts.items():
        kept, beside = config.num_in_parts(count)
        if not beside:
            raise ConfigError(
                f"subset.architecture_fraction: {config.architecture_fraction} finds none of the "
                f"{count} images of class {name} left beside the {kept} of subset.fraction "
                f"{config.fraction}; allowed: a fraction that leaves one"
            )


def _positions(count: int, kept: int, config: SelectionConfig) -> np.ndarray:
    """Places in a class's order whose images are kept: the first ones, or at a fixed stride."""
    places = np.arange(kept)
    # In integers, since a stride such as 10 / 3 times 3 could fall short of 10.
    return places * count // kept if config.order == "interval" else places
