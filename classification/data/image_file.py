"""Opens untrusted image files; names those that are no images or are cut short."""

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from classification.data.depth import deep_values
from classification.data.layout import FORMATS
from classification.errors import DataError
from classification.persistence.untrusted_files import open_regular

_MAX_FILE_BYTES = 1 << 29  # of an image; the pixels that Pillow lets pass take half of it
_EXIF_ORIENTATION = 0x0112
_LEVELS = {"L;2": 3, "L;4": 15}  # the largest value of a PNG's gray of 2 and of 4 bits
_TAIL = 64  # bytes at the end of a file
_ENDS = {"JPEG": (b"\xff\xd9",), "MPO": (b"\xff\xd9",), "PNG": (b"IEND",)}
UNREADABLE = (
    OSError,
    RuntimeError,  # of the decoder of AVIF
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@contextmanager
def opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image file whose pixels wait to be asked for.

    Raises DataError naming the file if it is none that is read or turns out not to be whole.
    """
    with (
        _readable(path),
        open_regular(path, _MAX_FILE_BYTES) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        if image.mode == "L" and image.tile and (levels := _LEVELS.get(str(image.tile[0][3]))):
            clear = image.info.get("transparency")
            if isinstance(clear, int):  # Pillow scales the pixels, but not the one that is clear
                image.info["transparency"] = clear * 255 // levels
        yield image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none that can be read.

    Pillow itself turns a TIFF when it loads it, and loads a PNG in whose header it finds none.
    """
    try:
        found = Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1)
    except Exception:  # the parser shows damaged metadata as nearly any exception
        return 1
    return found if found in range(1, 9) else 1


def check_whole(image: ImageFile.ImageFile) -> None:
    """Decode an opened image that is not loaded yet, unless its file ends as its format does.

    What `opened` raises DataError for is raised here if the file is cut short.
    """
    file = image.fp
    assert file is not None
    place, size = file.tell(), file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    file.seek(place)
    if not any(mark in tail for mark in _ENDS.get(image.format or "", ())):
        deep_values(image)


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
    except UNREADABLE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else " ".join(str(error).split())
        raise DataError(
            f"{path}: unreadable ({reason}); allowed: a whole image ({', '.join(FORMATS)})"
        ) from error
