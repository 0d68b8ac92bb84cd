"""What every mixer is: its call, its soft targets, its use as a DataLoader's collate function."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from classification.errors import ConfigError

MAX_IMAGES = 255  # an owner map is uint8


class Mixer(Protocol):
    """Mixes the images of a batch with one another."""

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(images [N, C, H, W], labels) to (mixed images, soft targets float32 [N, L]).

        `labels` are int64 [N] or already soft [N, L]. `generator` lives on the images' device.
        """
        ...


class BatchMixer(ABC):
    """A mixer of `num_images` images, each sample with its own fractions and partners.

    `alpha` is the parameter of the fractions' symmetric Dirichlet distribution; `prob` the
    probability that a batch is mixed at all; `num_classes` the length of the soft targets, needed
    if labels are integers. Images may be uint8 or of any float type, on any device.
    Raises ConfigError if a parameter is out of range, or labels are integers and it is missing.
    """

    def __init__(
        self, num_images: int, alpha: float, prob: float = 1.0, num_classes: int | None = None
    ) -> None:
        if not 2 <= num_images <= MAX_IMAGES:
            raise ConfigError(f"mixing.num_images: found {num_images}; allowed: 2 to {MAX_IMAGES}")
        if not 0 < alpha < float("inf"):
            raise ConfigError(f"mixing.alpha: found {alpha}; allowed: above 0 and finite")
        if not 0 <= prob <= 1:
            raise ConfigError(f"mixing.prob: found {prob}; allowed: 0 to 1")
        self.num_images, self.alpha = num_images, alpha
        self.prob, self.num_classes = prob, num_classes

    @abstractmethod
    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `Mixer.__call__`."""

    def collate_fn(self, generator: torch.Generator) -> "MixingCollate":
        """A picklable collate function for a DataLoader of (image, integer label) samples."""
        return MixingCollate(self, generator)

    def _targets(self, labels: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
        """Soft targets [N, L] of mixes of the samples `partners` [N, K]."""
        if labels.ndim == 1 and self.num_classes is None:
            raise ConfigError(
                "mixing.num_classes: found none with integer labels; allowed: the number of classes"
            )
        return soft_targets(labels[partners], weights, self.num_classes)

    def _only_first_if_unmixed(self, shares: Tensor, generator: torch.Generator) -> Tensor:
        """`shares` [..., K] with probability `prob`, else all of the share to the first image."""
        if self.prob == 1:
            return shares
        mixed = torch.rand((), generator=generator, device=shares.device) < self.prob
        first = torch.zeros_like(shares)
        first[..., 0] = 1
        return torch.where(mixed, shares, first)


@dataclass
class MixingCollate:
    """Collates (image, integer label) samples and mixes them. Picklable.

    In a worker process the mixes follow the worker's own seed, which the DataLoader draws afresh
    every epoch, so that no two workers or epochs repeat one another.
    """

    mixer: Mixer
    generator: torch.Generator
    _worker_seed: int | None = None

    def __call__(self, samples: list[Any]) -> tuple[Tensor, Tensor]:
        """A list of N samples to (mixed images [N, C, H, W], soft targets [N, L])."""
        worker = get_worker_info()
        if worker is not None and self._worker_seed != worker.seed:
            self._worker_seed = worker.seed
            seed = (self.generator.initial_seed() + worker.seed) % 2**63
            self.generator = torch.Generator().manual_seed(seed)
        images, labels = default_collate(samples)
        return self.mixer(images, labels, self.generator)


def soft_targets(labels: Tensor, weights: Tensor, num_classes: int | None = None) -> Tensor:
    """The labels of mixed images: float32 [..., L]; partners of the same class add up.

    `labels` are int64 [..., K] and L is `num_classes`, or already soft [..., K, L]; `weights`
    [..., K] are each image's share. Raises ValueError if integers come without `num_classes`.
    """
    if labels.ndim > weights.ndim:
        return torch.einsum("...k,...kl->...l", weights.float(), labels.float())
    if num_classes is None:
        raise ValueError("soft_targets: integer labels need num_classes")
    targets = torch.zeros(*weights.shape[:-1], num_classes, device=weights.device)
    return targets.scatter_add_(-1, labels, weights.float())


def draw_partners(
    batch_size: int, num_images: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Sample that gives each mix its k-th image, int64 [N, K]: itself, then permutations."""
    partners = [torch.arange(batch_size, device=device)]
    for _ in range(num_images - 1):
        partners.append(torch.randperm(batch_size, generator=generator, device=device))
    return torch.stack(partners, 1)
