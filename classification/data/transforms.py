"""Augmentation of a whole batch on its own device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_STD = 0.05


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of images in [0, 1].

    Of measured deviations none is less than 0.05, so that no pixel, padding and attacks included,
    is further than 20 deviations from the mean, even in a channel that is constant.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] or float in [0, 255] to normalised float32."""
        scale, shift = _affine(self.mean, self.std, images.device)
        return torch.addcmul(shift, images.float(), scale)

    def invert(self, images: Tensor) -> Tensor:
        """Normalised [N, C, H, W] back to pixels in [0, 255], float32."""
        scale, shift = _affine(self.mean, self.std, images.device)
        return (images.float() - shift) / scale

    @classmethod
    def of(cls, images: Tensor) -> "Normalization":
        """The statistics of uint8 images [N, C, H, W], by histogram: exact and O(1) in memory."""
        return cls.of_histogram(channel_histogram(images))

    @classmethod
    def of_histogram(cls, counts: Tensor) -> "Normalization":
        """The statistics of images with the `channel_histogram` counts, int64 [C, 256]."""
        values = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        for channel in counts.double():
            share = channel / channel.sum()
            mean = float((share * values).sum())
            means.append(mean)
            stds.append(max(float((share * (values - mean) ** 2).sum()) ** 0.5, _LEAST_STD))
        return cls(tuple(means), tuple(stds))


def channel_histogram(images: Tensor) -> Tensor:
    """How often each channel of uint8 images [N, C, H, W] has each value: int64 [C, 256]."""
    counts = [torch.bincount(c.reshape(-1), minlength=256) for c in images.unbind(1)]
    return torch.stack(counts).cpu()


def constant_channels(counts: Tensor) -> list[str]:
    """A line that names the channels of a histogram, int64 [3, 256], that have one value alone."""
    lines = []
    for name, channel in zip(("red", "green", "blue"), counts, strict=True):
        values = channel.nonzero().flatten().tolist()
        if len(values) == 1:
            lines.append(f"the {name} channel is {values[0]} in every training image")
    return ["; ".join(lines)] if lines else []


# Standard deviations and directions (columns) of the colours of ImageNet's training images along
# their principal axes, in [0, 1], as published with the ResNet recipes.
_COLOUR_SCALES = (0.2175, 0.0188, 0.0045)
_COLOUR_AXES = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


@dataclass(frozen=True)
class Augmentation:
    """Random crop of the zero-padded image, random mirroring, lighting, Cutout, normalisation.

    Lighting (Krizhevsky et al. 2012, section 4.1) shifts all of an image's pixels along the
    principal axes of ImageNet's colours, by N(0, `lighting`²) times the deviation along each.
    Cutout (DeVries & Taylor 2017) blanks a square of side `cutout` centred anywhere, clipped at
    the border, after normalisation, as the DARTS family does.
    """

    normalization: Normalization
    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    lighting: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [N, C, H, W] to normalised float32; `generator` lives on the images' device."""
        if self.crop_padding or self.flip:
            images = crop_and_flip(images, self.crop_padding, self.flip, generator)
        images = self.normalization(images)
        if self.lighting:
            images = images + self._colour_shifts(len(images), images.device, generator)
        return cutout(images, self.cutout, generator) if self.cutout else images

    def _colour_shifts(
        self, number: int, device: torch.device, generator: torch.Generator
    ) -> Tensor:
        """Shifts of normalised images, float32 [N, 3, 1, 1]."""
        axes = _colour_axes(self.normalization.std, device)
        steps = torch.randn(number, 3, generator=generator, device=device) * self.lighting
        return (steps @ axes.T)[:, :, None, None]


def crop_and_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Crop each image from its zero-padded self and mirror every second one, in a single gather."""
    number, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, [padding] * 4)

    def offsets() -> Tensor:
        return torch.randint(2 * padding + 1, (number, 1), generator=generator, device=device)

    rows = offsets() + torch.arange(height, device=device)  # [N, H]
    columns = offsets() + torch.arange(width, device=device)  # [N, W]
    if flip:
        mirrored = torch.rand(number, 1, generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    samples = torch.arange(number, device=device)
    index = _index(samples, torch.arange(channels, device=device), rows, columns)
    return padded[index]


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a `side`×`side` square, centred uniformly over the pixels and clipped, to zero."""
    number, _, height, width = images.shape

    def outside(size: int) -> Tensor:
        centre = torch.randint(size, (number, 1), generator=generator, device=images.device)
        offset = torch.arange(size, device=images.device) - centre + side // 2
        return (offset < 0) | (offset >= side)  # [N, size]

    keep = outside(height)[:, None, :, None] | outside(width)[:, None, None, :]
    return images * keep


@lru_cache(maxsize=64)
def _affine(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Scale and shift [C, 1, 1]; kept, since making them would halt a CUDA stream every batch."""
    with torch.inference_mode(False):  # kept for later calls, some of which need gradients
        scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
        return scale[:, None, None], shift[:, None, None]


@lru_cache(maxsize=64)
def _colour_axes(std: tuple[float, ...], device: torch.device) -> Tensor:
    """Principal axes of colour as columns, each as long as the deviation along it, normalised."""
    with torch.inference_mode(False):
        axes = torch.tensor(_COLOUR_AXES) * torch.tensor(_COLOUR_SCALES)
        return (axes / torch.tensor(std)[:, None]).to(device)


def _index(samples: Tensor, channels: Tensor, rows: Tensor, columns: Tensor) -> Sequence[Tensor]:
    return (
        samples[:, None, None, None],
        channels[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
