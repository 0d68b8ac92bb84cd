"""How a trained classifier sees any image: decoded, resized and cropped as its test images were."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageOps
from pydantic import BaseModel, Field
from torch import Tensor
from torchvision.transforms.v2 import functional

from classification.data.config import DataConfig
from classification.data.datasets import ImageDataset
from classification.data.decoding import Decoding
from classification.data.depth import deep_values, largest_value
from classification.data.files import evaluation_pixels
from classification.data.transforms import Normalization

_EIGHT, _SIXTEEN = 8, 16  # bits

Fit = Literal["fit", "crop", "interpolate"]


class Preprocessing(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The classes and the test-time preprocessing of a dataset, recorded with what it trained.

    `fit` is what makes an image a square: of a folder held in memory the middle, resized by Pillow
    (fit); of images left in files a resize and a centre crop (crop); of CIFAR and digits, whose
    images are squares, a resize by torch (interpolate).
    """

    class_names: tuple[str, ...] = Field(min_length=2)
    image_size: int = Field(ge=1, le=1024)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Fit
    background: str = Field(pattern=r"^#[0-9a-f]{6}$")
    exif_orientation: bool
    bits: int = Field(ge=1, le=32)

    @classmethod
    def of(cls, dataset: ImageDataset, config: DataConfig) -> "Preprocessing":
        """That of `config`'s images; `dataset` holds them."""
        return cls.model_validate(
            {
                "class_names": dataset.classes,
                "image_size": dataset.image_size,
                "mean": dataset.normalization.mean,
                "std": dataset.normalization.std,
                "bits": dataset.decoding.bits,
                **_by_config(config),
            }
        )

    def under(self, config: DataConfig) -> "Preprocessing":
        """The same with what `config` decides, whose images may be these under other settings."""
        return self.model_copy(update=_by_config(config))

    @property
    def normalization(self) -> Normalization:
        """Of pixels to the network's input."""
        return Normalization(self.mean, self.std)

    @property
    def decoding(self) -> Decoding:
        """Of files to pixels."""
        return _PhotoDecoding(self.background, self.exif_orientation, self.bits)

    def pixels(self, image: Image.Image) -> Tensor:
        """An image of any size and mode, not loaded yet if it is a file's: uint8 [3, S, S].

        Raises ValueError for floats outside [0, 1], and what Pillow raises for a damaged file.
        """
        size, decoding = self.image_size, self.decoding
        if self.fit == "crop":
            return evaluation_pixels(image, size, decoding).expand(3, size, size)
        if self.fit == "fit":
            image.draft(None, (2 * size, 2 * size))
            rgb = decoding.to_rgb(image)
            if rgb.size != (size, size):
                rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
            return functional.pil_to_tensor(rgb)
        pixels = functional.pil_to_tensor(decoding.to_rgb(image))
        pixels = functional.center_crop(pixels, [min(pixels.shape[1:])])
        if pixels.shape[1] == size:
            return pixels
        resized = F.interpolate(pixels[None], size=(size, size), mode="bilinear", antialias=True)
        return resized[0]


def _by_config(config: DataConfig) -> dict[str, Any]:
    decoding = Decoding.of(config)
    in_memory: Fit = "fit" if config.kind == "folder" else "interpolate"
    return {
        "fit": "crop" if config.in_files else in_memory,
        "background": decoding.background,
        "exif_orientation": decoding.exif_orientation,
    }


class _PhotoDecoding(Decoding):
    """As of the dataset; but where its images used 8 bits, brighter values are of 16 bits."""

    def to_rgb(self, image: Image.Image) -> Image.Image:
        values = deep_values(image)
        if (
            values is not None
            and values.dtype != np.float32
            and self.bits == _EIGHT
            and largest_value(values) >= 1 << _EIGHT
        ):
            return replace(self, bits=_SIXTEEN).flatten(image, values)
        return self.flatten(image, values)
