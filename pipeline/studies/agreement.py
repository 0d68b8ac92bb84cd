"""Agreement of a study's rankings with themselves and each other, and properties of its subsets.

These figures do not say which subset is better: compare the networks trained on them for that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from classification.classifier import read_scorer
from classification.config import SUPERNET
from classification.data.datasets import ImageDataset
from classification.data.loaders import ImageSet
from classification.models.network import Classifier
from classification.persistence.arrays import read_array
from classification.persistence.untrusted_files import read_object
from classification.training.trainer import evaluating, to_device
from pipeline.stages.baseline import VALUES
from pipeline.stages.scorer import WEIGHTS
from pipeline.stages.scores import LOSSES, RELIABILITY
from pipeline.stages.subset import SUBSET
from pipeline.studies.results import TrialResult, by_setting, counterpart
from subsample.agreement import (
    confused_share,
    confusion_concentration,
    diversity,
    overlap,
    rank_agreement,
)
from subsample.baselines import extract_features
from subsample.selection import Measure, Subset, ranked_by, select
from subsample.uncertainty import summarise

COLUMNS: dict[str, str] = {
    "split_half": "reliability (split half, all draws)",
    "across_seeds": "Spearman across seeds",
    "overlap_across_seeds": "overlap across seeds",
    "with_reference": "Spearman with the reference",
    "overlap_with_reference": "overlap with the reference",
    "overlap_mean_low": "overlap with mean low",
    "diversity": "diversity of features",
    "confused": "wrong by the scorer",
    "confusion_concentration": "two of these confuse the same classes",
    "scoring_seconds": "seconds of scoring",
}
"""Figures of each trial. Shares are in [0, 1]; random subsets overlap by the fraction t."""

OF_ALL_SEEDS = ("across_seeds", "overlap_across_seeds")
"""Columns with one figure for all seeds of a setting."""


@dataclass(frozen=True)
class _Ranking:
    """A trial's ranking of the training images and its subset."""

    values: np.ndarray | None  # [N], higher values are selected first
    indices: np.ndarray


def add_agreement(
    results: Sequence[TrialResult],
    datasets_of: Callable[[TrialResult], ImageDataset],
    device: torch.device,
    reference: str | None,
) -> None:
    """Fill in `agreement`, with the keys of COLUMNS, of every trial that has a subset."""
    ranked = {id(result): _ranking(result) for result in results if "subset" in result.artifacts}
    seen: dict[tuple[Path, Path], dict[str, float | None]] = {}  # keys: paths of scorer, subset
    across = _across_seeds(results, ranked)
    for result in results:
        if id(result) not in ranked:
            continue
        mine = ranked[id(result)]
        other = counterpart(result, reference, results)
        theirs = ranked.get(id(other)) if other is not result else None
        found: dict[str, float | None] = dict.fromkeys(COLUMNS)
        found |= across[result.key] | _own(result, mine, datasets_of(result))
        viewer = _viewer(result, results)
        if viewer is not None:
            files = viewer.artifacts["scorer"].path, result.artifacts["subset"].path
            if files not in seen:
                seen[files] = _traits(viewer, result, datasets_of(result), device)
            found |= seen[files]
        if theirs is not None:
            found["overlap_with_reference"] = overlap(mine.indices, theirs.indices)
            if mine.values is not None and theirs.values is not None:
                found["with_reference"] = rank_agreement(mine.values, theirs.values)
        result.agreement.update(found)


def _ranking(result: TrialResult) -> _Ranking:
    indices = np.array(Subset.load(result.artifacts["subset"].path / SUBSET).indices)
    config = result.trial.config
    if "baseline" in result.artifacts:
        return _Ranking(read_array(result.artifacts["baseline"].path / VALUES, 1), indices)
    if "scores" not in result.artifacts:
        return _Ranking(None, indices)
    scores = summarise(read_array(result.artifacts["scores"].path / LOSSES, 2), config.scores)
    return _Ranking(ranked_by(scores, config.subset.measure), indices)


def _across_seeds(
    results: Sequence[TrialResult], ranked: Mapping[int, _Ranking]
) -> dict[tuple[str, str], dict[str, float | None]]:
    """Return each setting's mean agreement over pairs of seeds."""
    found = {}
    for key, seeds in by_setting(results).items():
        rankings = [ranked[id(seed)] for seed in seeds if id(seed) in ranked]
        pairs = list(combinations(rankings, 2))
        correlations = [
            correlation
            for first, second in pairs
            if first.values is not None and second.values is not None
            if (correlation := rank_agreement(first.values, second.values)) is not None
        ]
        overlaps = [overlap(first.indices, second.indices) for first, second in pairs]
        found[key] = {
            "across_seeds": mean(correlations) if correlations else None,
            "overlap_across_seeds": mean(overlaps) if overlaps else None,
        }
    return found


def _own(result: TrialResult, mine: _Ranking, data: ImageDataset) -> dict[str, float | None]:
    """Return the figures that come from a trial's own losses."""
    if "scores" not in result.artifacts:
        return {}
    path, config = result.artifacts["scores"].path, result.trial.config
    easy: Measure = "mean_low"
    easiest = select(
        data.train.labels.numpy(),
        config.subset.model_copy(update={"measure": easy, "order": "deterministic"}),
        summarise(read_array(path / LOSSES, 2), config.scores),
        config.seed,
    )
    cost = result.costs["scores"]
    return {
        "split_half": read_object(path / RELIABILITY)["spearman_brown"],
        "overlap_mean_low": overlap(mine.indices, easiest),
        "scoring_seconds": 3600 * (cost.gpu_hours + cost.cpu_hours),
    }


def _viewer(result: TrialResult, results: Sequence[TrialResult]) -> TrialResult | None:
    """Return the trial whose scorer describes a subset's images: `result` if its scorer is a
    classifier, else the first such trial of its seed."""
    same_seed = [other for other in results if other.trial.seed == result.trial.seed]
    return next(
        (
            other
            for other in (result, *same_seed)
            if "scorer" in other.artifacts and other.trial.config.scorer.model != SUPERNET
        ),
        None,
    )


def _traits(
    viewer: TrialResult, seen: TrialResult, data: ImageDataset, device: torch.device
) -> dict[str, float | None]:
    """Describe the subset of the trial `seen` with the scorer of `viewer`."""
    config = viewer.trial.config
    weights = viewer.artifacts["scorer"].path / WEIGHTS
    model = read_scorer(config.scorer.model, data, weights)
    to_device(model, device)
    subset = Subset.load(seen.artifacts["subset"].path / SUBSET)
    images = data.in_memory().take(torch.tensor(subset.indices)).to(device)
    features = extract_features(model, images.images, data.normalization, config.scores.batch_size)
    logits = _logits(model, images, data, config.scores.batch_size)
    labels = images.labels.cpu().numpy()
    return {
        "diversity": diversity(features, labels),
        "confused": confused_share(logits, labels),
        "confusion_concentration": confusion_concentration(logits, labels),
    }


@torch.inference_mode()
def _logits(model: Classifier, images: ImageSet, data: ImageDataset, batch: int) -> np.ndarray:
    with evaluating(model):
        parts = [model(data.normalization(part)) for part in images.images.split(batch)]
    return torch.cat(parts).float().cpu().numpy()
