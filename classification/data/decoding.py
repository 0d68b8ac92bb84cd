"""Decodes PNG, JPEG and WebP files; names files of other formats and damaged ones."""

import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from classification.errors import DataError
from classification.persistence.untrusted_files import open_regular

# Named by content too, so that a disguised file reaches none of Pillow's other decoders.
_FORMATS = ("PNG", "JPEG", "WEBP")
_MAX_FILE_BYTES = 1 << 29  # of an image; the pixels that Pillow lets pass take half of it
_CHUNK = 256  # images a thread takes at a time
_UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def decode_images(paths: Sequence[Path], image_size: int, resize: bool = True) -> Tensor:
    """Decode files to uint8 [N, 3, image_size, image_size] in a pool of threads.

    The shorter side is brought to `image_size` and the middle kept; without `resize` every image
    must have that size already. Raises DataError naming the file that cannot be used.
    """
    images = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)

    def decode(start: int) -> None:
        for i in range(start, min(start + _CHUNK, len(paths))):
            image = read_image(paths[i], 2 * image_size if resize else None)
            if image.size != (image_size, image_size):
                if not resize:
                    raise _unfit(paths[i], image.size)
                image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
            images[i] = np.asarray(image).transpose(2, 0, 1)

    with strict_pillow(), ThreadPoolExecutor() as pool:
        for _ in pool.map(decode, range(0, len(paths), _CHUNK)):
            pass
    return torch.from_numpy(images)


def native_size(path: Path) -> int:
    """The side of a square image. Raises DataError if it is unreadable or not square."""
    with strict_pillow(), opened(path) as image:
        size = image.size
    if size[0] != size[1]:
        raise _unfit(path, size)
    return size[0]


def read_image(path: Path, sufficient_side: int | None = None) -> Image.Image:
    """Decode a PNG, JPEG or WebP file to RGB: grayscale and palettes too; transparency is dropped.

    A JPEG may come at a half, a quarter or an eighth of its size, but with no side under
    `sufficient_side`. Raises DataError naming the file if it is none of these or not whole.
    """
    with opened(path) as image:
        if sufficient_side is not None:
            image.draft(None, (sufficient_side, sufficient_side))
        return to_rgb(image)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A PNG, JPEG or WebP file whose pixels wait to be asked for.

    Raises DataError naming the file if it is none of these or turns out not to be whole.
    """
    with (
        _readable(path),
        open_regular(path, _MAX_FILE_BYTES) as file,
        Image.open(file, formats=_FORMATS) as image,
    ):
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """The pixels of an image of any mode as RGB."""
    if image.mode.startswith("I;16"):  # Pillow would clip at 255 instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Pillow's warning of a decompression bomb is an error; what it says of metadata is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else " ".join(str(error).split())
        raise DataError(
            f"{path}: unreadable ({reason}); allowed: a whole PNG, JPEG or WebP image"
        ) from error


def _unfit(path: Path, size: tuple[int, int]) -> DataError:
    return DataError(
        f"{path}: found {size[0]}×{size[1]} pixels; allowed: one square size for all images, or "
        "any with image_size set"
    )
