"""The interface of all mixers: call, soft labels, use as a DataLoader's collate function."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from classification.errors import ConfigError
from classification.mixing.boxes import Boxes
from classification.mixing.config import MAX_IMAGES


class Mixer(Protocol):
    """Mixes the images of a batch with one another."""

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(images [N, C, H, W], labels) to (mixed images, soft targets float32 [N, L]).

        `labels` are int64 [N] or already soft [N, L]. `generator` lives on the images' device.
        """
        ...


@dataclass(frozen=True)
class Mix:
    """A mixed batch, and how it came about."""

    images: Tensor
    """[N, C, H, W]."""
    targets: Tensor
    """Soft labels, float32 [N, L], each of sum 1."""
    partners: Tensor
    """Samples whose images went into each mix, int64 [N, K], itself first."""
    weights: Tensor
    """What each of them has of the label, float32 [N, K]."""
    boxes: Boxes | None = None
    """Where each shows, [N, K], of mixers that cut rectangles."""
    shares: Tensor | None = None
    """Share of each at every pixel, float32 [N, K, H, W], of mixers that cut other shapes."""
    saliency: Tensor | None = None
    """Of the unmixed images, float32 [N, H, W], of mixers that heed it."""


class BatchMixer(ABC):
    """What the mixers share.

    `prob` is the probability that a batch is mixed at all; `num_classes` the length of the soft
    targets, needed if labels are integers. Images may be uint8 or of any float type, on any device.
    Raises ConfigError if a parameter is out of range, labels are of another shape or type, labels
    are integers and `num_classes` is missing, or a label is not below it (on a CUDA device, where
    looking would make the step wait, only the first batch's labels are looked at).
    """

    capturable: ClassVar[bool] = True
    """Whether it never waits for the device, so that a step with it can become a CUDA graph."""

    def __init__(self, prob: float = 1.0, num_classes: int | None = None) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"mixing.prob: found {prob}; allowed: 0 to 1")
        self.prob, self.num_classes = prob, num_classes
        self._seen_labels = False

    def __call__(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `Mixer.__call__`."""
        mix = self.mix(images, labels, generator)
        return mix.images, mix.targets

    def mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """What `__call__` returns, and how it came about; arguments as of `Mixer.__call__`."""
        self._check_kind(labels, len(images))
        return self._mix(images, labels, generator)

    @abstractmethod
    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """`mix` of a batch whose labels are of an allowed shape and type."""

    def collate_fn(self, generator: torch.Generator) -> "MixingCollate":
        """A picklable collate function for a DataLoader of (image, integer label) samples."""
        return MixingCollate(self, generator)

    def _targets(self, labels: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
        """Soft targets [N, L] of mixes of the samples `partners` [N, K]."""
        if labels.ndim == 1:
            self._check_labels(labels)
        return soft_targets(labels[partners], weights, self.num_classes)

    def _check_kind(self, labels: Tensor, num_images: int) -> None:
        """Raise ConfigError unless labels are int64 [N] or soft [N, L]; no values are read."""
        length = labels.shape[-1] if labels.ndim == 2 else None
        soft = length == self.num_classes if self.num_classes else (length or 0) > 1
        hard = labels.ndim == 1 and labels.dtype == torch.int64
        if labels.ndim and len(labels) == num_images and (hard or soft):
            return
        kind = str(labels.dtype).removeprefix("torch.")
        classes = self.num_classes or "the number of classes"
        raise ConfigError(
            f"mixing: found labels of type {kind} and shape {list(labels.shape)} with {num_images} "
            f"images; allowed: int64 [{num_images}], or soft labels [{num_images}, {classes}]"
        )

    def _check_labels(self, labels: Tensor) -> None:
        if self.num_classes is None:
            raise ConfigError(
                "mixing.num_classes: found none with integer labels; allowed: the number of classes"
            )
        if labels.is_cuda and self._seen_labels:
            return
        self._seen_labels = True
        low, high = (int(bound) for bound in labels.aminmax()) if len(labels) else (0, 0)
        if low < 0 or high >= self.num_classes:
            raise ConfigError(
                f"mixing.num_classes: found {self.num_classes} with labels {low} to {high}; "
                "allowed: labels from 0 that are below it"
            )

    def _only_first_if_unmixed(self, shares: Tensor, generator: torch.Generator) -> Tensor:
        """`shares` [..., K] with probability `prob`, else all of the share to the first image."""
        if self.prob == 1:
            return shares
        mixed = torch.rand((), generator=generator, device=shares.device) < self.prob
        return torch.where(mixed, shares, all_to_first(shares))


class DirichletMixer(BatchMixer):
    """A mixer of `num_images` images, each sample with its own fractions and partners.

    `alpha` is the parameter of the fractions' symmetric Dirichlet distribution; the rest is
    `BatchMixer`'s.
    """

    def __init__(
        self, num_images: int, alpha: float, prob: float = 1.0, num_classes: int | None = None
    ) -> None:
        super().__init__(prob, num_classes)
        if not 2 <= num_images <= MAX_IMAGES:
            raise ConfigError(f"mixing.num_images: found {num_images}; allowed: 2 to {MAX_IMAGES}")
        if not 0 < alpha < float("inf"):
            raise ConfigError(f"mixing.alpha: found {alpha}; allowed: above 0 and finite")
        self.num_images, self.alpha = num_images, alpha

    def _draw_fractions(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Fractions of each mix's images, float32 [N, K]."""
        shape = (len(images), self.num_images)
        fractions = sample_fractions(self.alpha, shape, generator, images.device)
        return self._only_first_if_unmixed(fractions, generator)

    def _draw_partners(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Sample that gives each mix its k-th image, int64 [N, K]: itself, then permutations."""
        return draw_partners(len(images), self.num_images, generator, images.device)


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


def all_to_first(shares: Tensor) -> Tensor:
    """`shares` [..., K] with 1 for the first image and 0 for the others."""
    first = torch.zeros_like(shares)
    first[..., 0] = 1
    return first


def sample_fractions(
    alpha: float,
    shape: tuple[int, ...],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draws of the symmetric Dirichlet distribution over the last axis, float32 `shape`.

    Computed from the logarithms of Gamma(α) draws, Gamma(α) = Gamma(α + 1) · U^(1/α) (Marsaglia &
    Tsang 2000, section 6), so that small α neither underflows nor divides zero by zero.
    """
    *batch, num_images = shape
    # The images come first in memory: many small softmaxes run faster across than along rows.
    shape = (num_images, *batch)
    gamma = _standard_gamma(torch.full(shape, alpha + 1.0, device=device), generator)
    log_uniform = torch.rand(shape, generator=generator, device=device).neg_().log1p_()  # finite
    return gamma.log_().add_(log_uniform, alpha=1 / alpha).softmax(0).movedim(0, -1)


def _standard_gamma(shapes: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of Gamma(shape, 1), by the private function behind `torch.distributions.Gamma`: the
    public one takes no generator.
    """
    return torch._standard_gamma(shapes, generator=generator)
