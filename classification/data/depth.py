"""Reads images of more than 8 bits a channel, and scales them to 8 bits.

Cameras and scanners store 10 or 12 bits in 16, so integers are scaled by the depth that the values
of a dataset use. Floats have to be in [0, 1]. Of a TIFF's 16 bits a colour Pillow reads the upper 8
alone, which `is_cut` tells.
"""

import warnings
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFile

_LARGEST = 65535  # of 16 bits
_BITS_PER_SAMPLE = 258  # TIFF tag


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet has channels deeper than 8 bits, all bits of which
    can be read."""
    if image.format != "PNG" or image.mode.startswith("I"):
        return image.mode in ("I", "F") or image.mode.startswith("I;16")
    assert isinstance(image, ImageFile.ImageFile)
    return bool(image.tile) and "16B" in str(image.tile[0][3])


def is_cut(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet has bits that Pillow does not read."""
    if image.format != "TIFF" or is_deep(image):
        return False
    return max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))) > 8


def deep_values(image: Image.Image) -> np.ndarray | None:
    """Load an image and return its values if it is deep, as they are in the file; else None.

    [H, W] or [H, W, C] with alpha last if C is even: uint16, int32, not negative, or float32.
    Raises ValueError for floats outside [0, 1].
    """
    deep, file = is_deep(image), getattr(image, "fp", None)
    image.load()
    if not deep:
        return None
    if image.mode == "F":
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"floating-point pixels from {low:g} to {high:g}, allowed: 0 to 1")
        return values
    if image.mode == "I":
        return np.asarray(image).clip(0)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)[..., None]
    else:  # of a PNG's 16 bits a colour Pillow keeps the upper 8 alone
        assert file is not None  # it was not loaded yet
        file.seek(0)
        values = _decode_png(file.read())
    clear = image.info.get("transparency")  # the one colour that is
    if clear is not None:
        opaque = (values != np.array(clear)).any(-1, keepdims=True)
        values = np.concatenate([values, opaque * np.uint16(_LARGEST)], -1)
    return values


def largest_value(values: np.ndarray) -> int:
    """The largest colour among an image's `deep_values`; what is wholly transparent counts not."""
    if _has_alpha(values):
        values = values[..., :-1][values[..., -1] > 0]
    return int(values.max(initial=0))


def depth_of(largest: Iterable[int]) -> int:
    """The bits that the largest values of images use together, at least 8."""
    return max(8, max(largest).bit_length())


def in_8_bits(values: np.ndarray, bits: int) -> Image.Image:
    """`deep_values` as gray, gray with alpha, RGB or RGBA: 0 to 2^`bits` - 1 as 0 to 255, rounded.

    Floats are 0 to 1, whatever `bits`. Larger values become 255.
    """
    if values.dtype == np.float32:
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if bits > 16:
        values, bits = values >> (bits - 16), 16
    scaled = _table(bits)[values.clip(max=_LARGEST)]
    if _has_alpha(values):
        scaled[..., -1] = _table(16)[values[..., -1]]  # opacity always uses all of its bits
    return Image.fromarray(scaled[..., 0] if scaled.shape[2:] == (1,) else scaled)


@lru_cache
def _table(bits: int) -> np.ndarray:
    """What each 16-bit value becomes, uint8 [65536]."""
    most = (1 << bits) - 1
    scaled = (np.arange(_LARGEST + 1) * 255 + most // 2) // most
    return scaled.clip(max=255).astype(np.uint8)


def _has_alpha(values: np.ndarray) -> bool:
    return values.ndim == 3 and values.shape[2] in (2, 4)


def _decode_png(content: bytes) -> np.ndarray:
    """Values uint16 [H, W, C] of a PNG of 16 bits a channel. Raises ValueError if it is damaged."""
    import torch  # slow to import, as is what follows, and both are needed rarely
    from torchvision.io import ImageReadMode, decode_png

    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            # Deprecated since torchvision 0.29, which recommends TorchCodec instead.
            warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
            pixels = decode_png(encoded, ImageReadMode.UNCHANGED)
    except RuntimeError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    values: np.ndarray = pixels.permute(1, 2, 0).numpy()
    return values
