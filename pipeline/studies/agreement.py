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
from classification.persistence.arrays import read_array
from classification.persistence.untrusted_files import read_object
from classification.training.trainer import to_device
from pipeline.stages.baseline import VALUES
from pipeline.stages.scorer import WEIGHTS
from pipeline.stages.scores import LOSSES, RELIABILITY
from pipeline.stages.subset import SUBSET
from pipeline.studies.results import TrialResult, by_setting, counterpart
from subsample.agreement import (
    confused_share,
    confusion_concentration,
    diversity,
    near_duplicate_share,
    overlap,
    rank_agreement,
)
from subsample.baselines import extract_features
from subsample.middle import central_square, logits_of_part
from subsample.selection import Measure, Subset, ranked_by, select
from subsample.uncertainty import summarise

OF_RANKINGS = {
    "split_half": "reliability (split half, all draws)",
    "across_seeds": "Spearman across seeds",
    "overlap_across_seeds": "overlap across seeds",
    "with_reference": "Spearman with the reference",
    "overlap_with_reference": "overlap with the reference",
    "scoring_seconds": "seconds of scoring",
}
OF_IMAGES = {
    "overlap_mean_low": "overlap with mean low",
    "overlap_mean_high": "overlap with mean high",
    "near_duplicates": "near-duplicates",
    "diversity": "diversity of features",
}
OF_RECOGNITION = {
    "confused": "wrong by the scorer",
    "confusion_concentration": "two of these confuse the same classes",
    "recognised_middle": "recognised by the middle alone",
    "recognised_border": "recognised by the border alone",
}
"""Figures of each trial's ranking, of the images it keeps, and of how the scorer recognises them,
with their titles. Shares are in [0, 1]; random subsets overlap by the fraction t."""

OF_ALL_SEEDS = ("across_seeds", "overlap_across_seeds")
"""Columns with one figure for all seeds of a setting."""


@dataclass(frozen=True)
class _Ranking:
    """A trial's ranking of the training images and its subset."""

    values: np.ndarray | None  # [N], higher values are selected first
    indices: np.ndarray


@dataclass(frozen=True)
class _View:
    """What a scorer sees of all training images, on the CPU: features [N, D], and logits [N, L] of
    the whole images, of their middle alone and of their border alone."""

    features: torch.Tensor
    logits: torch.Tensor
    middle: torch.Tensor
    border: torch.Tensor


def add_agreement(
    results: Sequence[TrialResult],
    datasets_of: Callable[[TrialResult], ImageDataset],
    device: torch.device,
    reference: str | None,
) -> list[dict[str, float | None]]:
    """Fill in `agreement`, with the keys of the three tables, of every trial that has a subset;
    return what is known of all images, by each scorer that has looked at them."""
    ranked = {id(result): _ranking(result) for result in results if "subset" in result.artifacts}
    traits, of_all = _traits(results, ranked, datasets_of, device)
    across = _across_seeds(results, ranked)
    for result in results:
        if id(result) not in ranked:
            continue
        mine = ranked[id(result)]
        other = counterpart(result, reference, results)
        theirs = ranked.get(id(other)) if other is not result else None
        found: dict[str, float | None] = dict.fromkeys(OF_RANKINGS | OF_IMAGES | OF_RECOGNITION)
        found |= across[result.key] | _own(result) | traits.get(id(result), {})
        scored = _of_seed(result, [result, *results], "scores")
        if scored is not None:
            found |= _extremes(scored, result, mine, datasets_of(result))
        if theirs is not None:
            found["overlap_with_reference"] = overlap(mine.indices, theirs.indices)
            if mine.values is not None and theirs.values is not None:
                found["with_reference"] = rank_agreement(mine.values, theirs.values)
        result.agreement.update(found)
    return of_all


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


def _own(result: TrialResult) -> dict[str, float | None]:
    """Return the figures of a trial's own scores."""
    if "scores" not in result.artifacts:
        return {}
    cost = result.costs["scores"]
    return {
        "split_half": read_object(result.artifacts["scores"].path / RELIABILITY)["spearman_brown"],
        "scoring_seconds": 3600 * (cost.gpu_hours + cost.cpu_hours),
    }


def _extremes(
    scored: TrialResult, result: TrialResult, mine: _Ranking, data: ImageDataset
) -> dict[str, float | None]:
    """Return the overlap of a subset with as many images of lowest and of highest mean loss, by the
    losses of the trial `scored`."""
    losses = read_array(scored.artifacts["scores"].path / LOSSES, 2)
    found: dict[str, float | None] = {}
    extremes: tuple[Measure, ...] = ("mean_low", "mean_high")
    for measure in extremes:
        # A file of images has no fraction in its config.
        fraction = Subset.load(result.artifacts["subset"].path / SUBSET).fraction
        wanted = {"measure": measure, "order": "deterministic", "fraction": fraction}
        first = select(
            data.train.labels.numpy(),
            result.trial.config.subset.model_copy(update=wanted),
            summarise(losses, scored.trial.config.scores),
            result.trial.config.seed,
        )
        found[f"overlap_{measure}"] = overlap(mine.indices, first)
    return found


def _of_seed(
    result: TrialResult, candidates: Sequence[TrialResult], stage: str
) -> TrialResult | None:
    """Return the first candidate of the result's seed that has the stage."""
    return next(
        (
            other
            for other in candidates
            if other.trial.seed == result.trial.seed and stage in other.artifacts
        ),
        None,
    )


def _traits(
    results: Sequence[TrialResult],
    ranked: Mapping[int, _Ranking],
    datasets_of: Callable[[TrialResult], ImageDataset],
    device: torch.device,
) -> tuple[dict[int, dict[str, float | None]], list[dict[str, float | None]]]:
    """Describe the images of each subset, by the trial's id, with its scorer or, if that is no
    classifier, with the first of its seed; and all images with each scorer. Each scorer passes
    three times over all images."""
    seen: dict[tuple[Path, str], list[tuple[TrialResult, TrialResult]]] = {}
    for result in results:
        candidates = [
            other for other in (result, *results) if other.trial.config.scorer.model != SUPERNET
        ]
        viewer = _of_seed(result, candidates, "scorer")
        if id(result) in ranked and viewer is not None:
            key = viewer.artifacts["scorer"].path, datasets_of(result).content_hash
            seen.setdefault(key, []).append((viewer, result))
    found, of_all = {}, []
    for pairs in seen.values():
        data = datasets_of(pairs[0][1])
        view, labels = _see(pairs[0][0], data, device), data.train.labels
        of_all.append(_describe(view, labels, np.arange(len(labels))))
        for _, result in pairs:
            found[id(result)] = _describe(view, labels, ranked[id(result)].indices)
    return found, of_all


def _describe(view: _View, labels: torch.Tensor, kept: np.ndarray) -> dict[str, float | None]:
    return {
        "diversity": diversity(view.features[kept], labels[kept]),
        "near_duplicates": near_duplicate_share(view.features, labels, kept),
        "confused": confused_share(view.logits[kept], labels[kept]),
        "confusion_concentration": confusion_concentration(view.logits[kept], labels[kept]),
        "recognised_middle": 1 - confused_share(view.middle[kept], labels[kept]),
        "recognised_border": 1 - confused_share(view.border[kept], labels[kept]),
    }


@torch.inference_mode()
def _see(viewer: TrialResult, data: ImageDataset, device: torch.device) -> _View:
    """Return what a trial's scorer sees of all training images."""
    config = viewer.trial.config
    weights = viewer.artifacts["scorer"].path / WEIGHTS
    model = read_scorer(config.scorer.model, data, weights)
    to_device(model, device)
    images, batch_size = data.in_memory().images.to(device), config.scores.batch_size
    features = extract_features(model, images, data.normalization, batch_size)
    middle = central_square(*images.shape[-2:])
    parts = (
        logits_of_part(model, images, data.normalization, visible, batch_size).cpu()
        for visible in (middle, ~middle)
    )
    return _View(features.cpu(), model.logits(features).float().cpu(), *parts)
