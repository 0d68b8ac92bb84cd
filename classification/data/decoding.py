"""Decodes image files to 8-bit RGB; names damaged ones.

Transparent images are composited over one colour. Images deeper than 8 bits a channel are scaled by
the depth that their values use, found once for a dataset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor, ImageOps

from classification.data.config import DataConfig
from classification.data.depth import (
    deep_values,
    depth_of,
    in_8_bits,
    is_cut,
    is_deep,
    largest_value,
)
from classification.data.image_file import opened, orientation, strict_pillow
from classification.data.workers import call_in_processes
from classification.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 256  # images a thread takes at a time
_IN_PROCESSES = 4_000  # images from which on processes decode them; they take a while to start
_MOST_PROCESSES = 16
_NAMED = 20  # unreadable files in a message
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoding:
    """How files become pixels: part of what a dataset is.

    `bits` is the depth by which integers deeper than 8 bits are scaled: 12 maps 0…4095 to 0…255.
    """

    background: str = "#ffffff"
    exif_orientation: bool = False
    bits: int = 16

    @classmethod
    def of(cls, config: DataConfig) -> Decoding:
        """What `config` asks for, before the depth is known."""
        return cls(config.background.lower(), config.exif_orientation)

    def describe(self, images: Findings, of: str = "") -> list[str]:
        """How images were treated otherwise than by copying their pixels, a line each way; `of`
        says of how many these are."""
        lines = []
        if images.transparent:
            lines.append(
                f"{_count(images.transparent)} with transparency{of}, composited over "
                f"{self.background} (data.background)"
            )
        if images.deep:
            lines.append(
                f"{_count(images.deep)} of more than 8 bits a channel{of}, scaled by the "
                f"{self.bits} bits that their values use"
            )
        if images.cut:
            lines.append(
                f"{_count(images.cut)} (TIFF) of more than 8 bits a colour{of}, of which the upper "
                "8 are read; as PNG all are"
            )
        if images.turned:
            does = "turned upright" if self.exif_orientation else "not turned"
            lines.append(
                f"{_count(images.turned)} with an EXIF orientation{of}, {does} "
                "(data.exif_orientation)"
            )
        return lines

    def to_rgb(self, image: Image.Image) -> Image.Image:
        """The pixels of an image, not loaded yet if it is a file's, as RGB."""
        return self.flatten(image, deep_values(image))

    def flatten(self, image: Image.Image, deep: np.ndarray | None = None) -> Image.Image:
        """The pixels of a loaded image of any mode, or its `deep_values`, as RGB: composited over
        the background, and turned if EXIF orientation counts. Raises ValueError for floats outside
        [0, 1]."""
        turn = _TURNS.get(orientation(image)) if self.exif_orientation else None
        if deep is not None:
            image = in_8_bits(deep, self.bits)
        if image.has_transparency_data:
            canvas = Image.new("RGBA", image.size, ImageColor.getrgb(self.background))
            canvas.alpha_composite(image.convert("RGBA"))
            image = canvas
        elif image.mode == "RGB" and turn is None:
            return image
        rgb = image.convert("RGB")
        rgb = rgb if turn is None else rgb.transpose(turn)
        rgb.info.clear()  # it is opaque and upright now
        return rgb

    def pixels(self, image: Image.Image, box: tuple[int, int, int, int] | None = None) -> Tensor:
        """An image or its `box` (left, top, right, bottom): uint8 [3, H, W], or [1, H, W] if
        it is gray."""
        from torchvision.transforms.v2 import functional  # slow to import

        plain = image if self.is_plain(image) else self.to_rgb(image)
        return functional.pil_to_tensor(plain if box is None else plain.crop(box))

    def turns(self, image: Image.Image) -> bool:
        """Whether an image that is not loaded yet may have an EXIF orientation that counts.

        That of a PNG may come after its pixels.
        """
        return self.exif_orientation and (image.format == "PNG" or orientation(image) != 1)

    def is_plain(self, image: Image.Image) -> bool:
        """Whether `to_rgb` would change no value: 8 bits, gray or RGB, opaque, not to be turned."""
        plain = image.mode in ("L", "RGB") and not image.has_transparency_data
        return plain and not is_deep(image) and not self.turns(image)


@dataclass(frozen=True)
class Findings:
    """How many images were treated otherwise than by copying their pixels."""

    transparent: int = 0
    deep: int = 0  # more than 8 bits a channel
    cut: int = 0  # bits that Pillow does not read
    turned: int = 0  # by an EXIF orientation


def decode_images(
    paths: Sequence[Path],
    image_size: int,
    resize: bool = True,
    decoding: Decoding = Decoding(),
    own_depth_of: int | None = None,
) -> tuple[Tensor, Decoding, Findings]:
    """Decode files to uint8 [N, 3, image_size, image_size] in threads, or many in processes.

    The shorter side is brought to `image_size` and the middle kept; without `resize` every image
    must have that size already. With `own_depth_of` images deeper than 8 bits are scaled by the
    depth that those among the first so many use (all, if none of these is deep); `decoding` is
    returned with that depth. Raises DataError naming all files that cannot be used.
    """
    import torch  # slow to import, and worker processes need none of it

    job = _Job(paths, image_size, resize)
    with strict_pillow():
        job.run(range(len(paths)), decoding, measure=own_depth_of is not None)
        if job.largest:
            own = [value for i, value in job.largest.items() if i < (own_depth_of or 0)]
            decoding = replace(decoding, bits=depth_of(own or job.largest.values()))
            job.run(sorted(job.largest), decoding)
    found = Findings(len(job.transparent), len(job.largest), len(job.cut), len(job.turned))
    return torch.from_numpy(job.images), decoding, found


class _Job:
    """Files to decode, each into its place of `images`; what was found, by place."""

    def __init__(self, paths: Sequence[Path], image_size: int, resize: bool) -> None:
        self.images = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)
        self.transparent, self.cut, self.turned = set[int](), set[int](), set[int]()
        self.largest: dict[int, int] = {}  # value of each deep image, where these are measured
        self._failures: dict[int, DataError] = {}
        self._paths, self._size, self._resize = paths, (image_size, image_size), resize

    def run(self, places: Sequence[int], decoding: Decoding, measure: bool = False) -> None:
        """Decode the files at `places`; with `measure` those deeper than 8 bits are measured
        instead. Raises DataError."""
        if (workers := _processes(len(places))) > 1:
            size = -(-len(places) // workers)
            parts = [places[start : start + size] for start in range(0, len(places), size)]
            done_by: Callable[..., Iterator[_Job]] = call_in_processes
        else:
            parts = [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]
            done_by = _call_in_threads
        calls = [
            ([self._paths[i] for i in part], self._size[0], self._resize, decoding, measure)
            for part in parts
        ]
        for part, done in zip(parts, done_by(_decode_part, calls), strict=True):
            self._take(part, done)
        if self._failures:
            raise all_of([self._failures[i] for i in sorted(self._failures)])

    def decode_all(self, decoding: Decoding, measure: bool) -> None:
        """Decode every file in this thread, and keep the failures."""
        for i in range(len(self._paths)):
            try:
                self._decode(i, decoding, measure)
            except DataError as error:
                self._failures[i] = error

    def _take(self, places: Sequence[int], done: _Job) -> None:
        """Take what was found of the files at `places`."""
        together = places[-1] - places[0] == len(places) - 1
        self.images[slice(places[0], places[-1] + 1) if together else list(places)] = done.images
        for own, found in (
            (self.transparent, done.transparent),
            (self.cut, done.cut),
            (self.turned, done.turned),
        ):
            own.update(places[i] for i in found)
        self.largest |= {places[i]: value for i, value in done.largest.items()}
        self._failures |= {places[i]: error for i, error in done._failures.items()}

    def _decode(self, i: int, decoding: Decoding, measure: bool) -> None:
        with opened(self._paths[i]) as image:
            if self._resize:
                image.draft(None, (2 * self._size[0], 2 * self._size[1]))
            if image.has_transparency_data:
                self.transparent.add(i)
            if is_cut(image):
                self.cut.add(i)
            deep = deep_values(image)
            if not self._resize and image.size != self._size:
                raise _unfit(self._paths[i], image.size)
            if decoding.exif_orientation and orientation(image) != 1:
                self.turned.add(i)
            if measure and deep is not None and deep.dtype != np.float32:
                self.largest[i] = largest_value(deep)
                return
            rgb = decoding.flatten(image, deep)
        if rgb.size != self._size:
            rgb = ImageOps.fit(rgb, self._size, Image.Resampling.BILINEAR)
        self.images[i] = np.asarray(rgb).transpose(2, 0, 1)


def _decode_part(
    paths: Sequence[Path], image_size: int, resize: bool, decoding: Decoding, measure: bool
) -> _Job:
    job = _Job(paths, image_size, resize)
    with strict_pillow():
        job.decode_all(decoding, measure)
    return job


def _call_in_threads(
    function: Callable[..., _Job], calls: Sequence[tuple[Any, ...]]
) -> Iterator[_Job]:
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda arguments: function(*arguments), calls)


def _processes(images: int) -> int:
    """Return how many processes decode so many images; 1: threads do, which start at once but wait
    for each other while they run Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own = (cores or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(own, _MOST_PROCESSES) if images >= _IN_PROCESSES else 1


def all_of(failures: Sequence[DataError]) -> DataError:
    """One error that names the file of each of several, up to twenty."""
    if len(failures) == 1:
        return failures[0]
    parts = [str(each).partition("; allowed: ") for each in failures]
    named = "; ".join(what for what, _, _ in parts[:_NAMED])
    more = f"; and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    allowed = "; or ".join(dict.fromkeys(allowed for _, _, allowed in parts))
    return DataError(f"{len(parts)} images cannot be used: {named}{more}; allowed: {allowed}")


def native_size(paths: Iterable[Path]) -> int:
    """The side of the first image that can be read. Raises DataError if it is not square, or if
    there is none."""
    failures = []
    for path in paths:
        try:
            with strict_pillow(), opened(path) as image:
                size = image.size
        except DataError as error:
            failures.append(error)
            continue
        if size[0] != size[1]:
            raise _unfit(path, size)
        return size[0]
    raise all_of(failures)


def _unfit(path: Path, size: tuple[int, int]) -> DataError:
    return DataError(
        f"{path}: found {size[0]}×{size[1]} pixels; allowed: one square size for all images, or "
        "any with image_size set"
    )


def _count(images: int) -> str:
    return f"{images:,} image{'s' * (images != 1)}"
