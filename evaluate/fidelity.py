"""Rank correlation of architectures between two training sets: Kendall's tau with its interval.

A search on a subset is sound if architectures rank there as on all images. Agreement is measured by
Kendall's tau-b (Kendall 1945), as is usual in benchmarks of architecture search.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import Workspace
from classification.progress import PartOfWork
from classification.seeding import make_generator
from classification.seeds import derive_seed
from evaluate.fidelity_config import FidelityConfig
from evaluate.retrain import network_complexity, retrain, summarise_accuracy
from pcdarts.genotype import Genotype, random_genotype

_INTERVAL = (2.5, 97.5)  # percentiles
_FOLDER = "network-"


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's tau-b and its 95 % interval; None where all values of one ranking are equal."""

    tau: float | None
    low: float | None
    high: float | None
    architectures: int

    def __str__(self) -> str:
        if self.tau is None:
            return "not defined (all errors are equal)"
        if self.low is None or self.high is None:
            return f"{self.tau:.2f}"
        return f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}]"


def sample_architectures(config: FidelityConfig, seed: int) -> list[Genotype]:
    """Draw the architectures to rank, by `config.seed` or else `seed`, whatever the images."""
    own = seed if config.seed is None else config.seed
    generator = make_generator(own, "fidelity-architectures")
    last = config.architectures - 1
    shares = [n / last if config.sampling == "spread" else None for n in range(last + 1)]
    return [random_genotype(generator, share) for share in shares]


def train_architectures(
    config: FidelityConfig,
    dataset: ImageDataset,
    *,
    seed: int,
    device: torch.device,
    workspace: Workspace,
) -> list[dict[str, Any]]:
    """Train the architectures one by one on `dataset.train`, resuming from the workspace.

    Return one row per architecture: "genotype", "parameters" without auxiliary head, and
    "top1_error" in percent on the test images after the last epoch. Checkpoints of a network are
    kept in a separate folder, which is deleted at the end.
    """
    genotypes, epochs = sample_architectures(config, seed), config.training.epochs
    first, _ = workspace.resume()
    for index in range(first, len(genotypes)):
        inner = Workspace(
            workspace.path(f"{_FOLDER}{index:04d}"),
            PartOfWork(workspace.progress, index * epochs, len(genotypes) * epochs),
            workspace.log,
        )
        retrain(
            genotypes[index],
            dataset,
            config.training,
            seed=seed,
            device=device,
            workspace=inner,
            section="fidelity.training",
        )
        row = {
            "genotype": genotypes[index].to_dict(),
            "parameters": network_complexity(genotypes[index], config.training, dataset).parameters,
            "top1_error": summarise_accuracy(inner.rows())["top1_error_last"],
        }
        workspace.save(index + 1, {}, row)
    # Delete all folders at the end: a killed run may have left earlier ones behind.
    for folder in workspace.directory.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder)
    return workspace.rows()


def rank_correlation(
    first: Sequence[float], second: Sequence[float], seed: int, resamples: int = 2000
) -> RankCorrelation:
    """Return Kendall's tau-b, -1 to 1, of two rankings of the same architectures.

    The interval is a percentile bootstrap over architectures, without the resamples in which all
    values of a ranking are equal and tau is undefined. It does not cover the randomness of
    training. Raises ValueError for different lengths or fewer than three values.
    """
    return mean_rank_correlation([first], [second], seed, resamples)


def mean_rank_correlation(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    seed: int,
    resamples: int = 2000,
) -> RankCorrelation:
    """Return the mean over seeds of Kendall's tau-b of `first[s]` and `second[s]`.

    All are values of the same architectures. The percentile bootstrap draws architectures, the same
    for all seeds, and seeds, so that it covers both choices; resamples with an undefined tau are
    left out. Raises ValueError for different lengths or fewer than three values.
    """
    lengths = sorted({len(values) for values in (*first, *second)})
    if len(lengths) > 1 or lengths[0] < 3:
        found = " and ".join(str(len(values)) for values in (first[0], second[0]))
        raise ValueError(f"found {found} values; allowed: equally many, at least three")
    (size,) = lengths
    random = np.random.default_rng(derive_seed(seed, "fidelity-bootstrap"))
    drawn = random.integers(size, size=(resamples, size))
    times = np.stack([np.bincount(each, minlength=size) for each in drawn])
    complete = np.ones((1, size), dtype=int)
    pairs = list(zip(first, second, strict=True))
    own = np.array([_taus(*pair, complete)[0] for pair in pairs])
    taus = np.stack([_taus(*pair, times) for pair in pairs])
    seeds = random.integers(len(pairs), size=(len(pairs), resamples))
    means = np.take_along_axis(taus, seeds, 0).mean(0)
    defined = means[~np.isnan(means)]
    low, high = np.percentile(defined, _INTERVAL).tolist() if len(defined) else (None, None)
    tau = float(own.mean())
    return RankCorrelation(None if np.isnan(tau) else tau, low, high, size)


def mean_of_others(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return for each seed the means over the other seeds of the architectures' values; of a single
    seed its own values.
    """
    if len(values) == 1:
        return [list(values[0])]
    # fmean rounds once, so that equal errors in another order of seeds stay ties.
    return [
        [fmean(of) for of in zip(*(*values[:own], *values[own + 1 :]), strict=True)]
        for own in range(len(values))
    ]


def check_fidelity(config: FidelityConfig, dataset: ImageDataset, kept: int) -> None:
    """Raise ConfigError, naming the key, if a network cannot train on `kept` of the images."""
    config.check("fidelity", dataset, "data", kept, "images that the subset keeps")


def _taus(
    first: Sequence[float], second: Sequence[float], times: NDArray[np.integer]
) -> NDArray[np.floating]:
    """Return tau-b [R] of R samples that contain architecture i `times[r, i]` times; NaN if
    undefined.

    Tau-b is the correlation of the sign matrices of all differences (Kendall 1945). Weighting
    their entries by `times` avoids one pair of matrices per sample.
    """
    a, b = (np.sign(np.subtract.outer(v, v)) for v in np.array([first, second], dtype=float))
    both, alone, other = (
        np.einsum("ri,ij,rj->r", times, signs, times, optimize=True)
        for signs in (a * b, abs(a), abs(b))
    )
    norm = np.sqrt(alone * other)
    return np.divide(both, norm, out=np.full(len(times), np.nan), where=norm > 0)
