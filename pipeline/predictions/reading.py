"""Reads image files in batches, in worker processes if there are many, and counts their modes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from classification.data.decoding import Findings
from classification.data.files import default_workers
from classification.data.folder_survey import Header
from classification.data.image_file import opened, strict_pillow
from classification.data.preprocessing import Preprocessing
from classification.data.workers import worker_context
from classification.errors import DataError

_FEW = 64  # images that are read faster than workers start
_MOST_PIXELS = 1 << 22  # of a batch
_MODES = {
    "1": "black and white, as gray",
    "L": "gray, the same in all three channels",
    "LA": "gray with transparency",
    "La": "gray with transparency",
    "P": "palette, its colours looked up",
    "PA": "palette with transparency",
    "RGB": "colour, nothing to convert",
    "RGBA": "colour with transparency",
    "RGBa": "colour with transparency",
    "RGBX": "colour, the fourth channel left out",
    "I": "gray of more than 8 bits",
    "F": "gray of floating-point numbers from 0 to 1",
}


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be used, and why, in a line that names it."""

    file: Path
    reason: str


@dataclass(frozen=True)
class Batch:
    """`rows` are those of the readable files, `pixels` uint8 [B, 3, S, S]; one header each."""

    rows: list[int]
    pixels: Tensor
    headers: list[Header]
    unreadable: list[tuple[int, str]]


def batch_size_of(image_size: int) -> int:
    """Return how many images a batch has at most."""
    return max(1, min(256, _MOST_PIXELS // image_size**2))


def read_batches(
    files: Sequence[Path], preprocessing: Preprocessing, skip_unreadable: bool = False
) -> Iterator[Batch]:
    """Yield all files in order, in batches.

    With `skip_unreadable` the unreadable ones are listed; else the first raises DataError.
    """
    size = batch_size_of(preprocessing.image_size)
    workers = default_workers() if len(files) > _FEW else 0
    if workers:
        size = max(1, min(size, len(files) // (2 * workers)))
    rows = list(range(len(files)))
    loader: DataLoader[Any] = DataLoader(
        _Reader(files, preprocessing),
        batch_sampler=[rows[start : start + size] for start in range(0, len(rows), size)],
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context=worker_context(__name__) if workers else None,
    )
    for batch in loader:
        if batch.unreadable and not skip_unreadable:
            raise DataError(f"{batch.unreadable[0][1]}; allowed: whole images")
        yield batch


class _Reader(Dataset[Any]):
    def __init__(self, files: Sequence[Path], preprocessing: Preprocessing) -> None:
        self._files, self._preprocessing = files, preprocessing

    def __getitems__(self, rows: list[int]) -> Batch:
        kept, pixels, headers = list[int](), list[Tensor](), list[Header]()
        unreadable = list[tuple[int, str]]()
        with strict_pillow():
            for row in rows:
                try:
                    with opened(self._files[row]) as image:
                        header = Header.of(image)
                        pixels.append(self._preprocessing.pixels(image))
                except DataError as error:
                    unreadable.append((row, str(error).partition("; allowed: ")[0]))
                    continue
                kept.append(row)
                headers.append(header)
        size = self._preprocessing.image_size
        stacked = torch.stack(pixels) if pixels else torch.empty(0, 3, size, size).byte()
        return Batch(kept, stacked, headers, unreadable)


def describe_headers(headers: Counter[Header], preprocessing: Preprocessing) -> list[str]:
    """Say what was done with the images of each mode, and with those that are not plain.

    `headers` counts images; their sizes do not matter.
    """
    modes, findings = Counter[str](), Counter[str]()
    for header, count in headers.items():
        modes[header.mode] += count
        for name in ("transparent", "deep", "cut", "turned"):
            findings[name] += count * getattr(header, name)
    lines = [
        f"{count:,} {mode} ({_describe_mode(mode)})"
        for mode, count in sorted(modes.items(), key=lambda each: (-each[1], each[0]))
    ]
    deep = findings.pop("deep", 0)
    if deep:
        bits = preprocessing.bits
        trained = f"the {bits} bits that the training images use"
        scaled = "16 bits" if bits in (8, 16) else trained
        lines.append(f"{deep:,} of more than 8 bits a channel, scaled by {scaled}")
    treated = preprocessing.decoding.describe(Findings(**findings))
    return ([f"kinds of images: {', '.join(lines)}"] if lines else []) + treated


def _describe_mode(mode: str) -> str:
    if mode.startswith("I;16"):
        return _MODES["I"]
    return _MODES.get(mode, "converted to RGB")


def _as_it_is(batch: Any) -> Any:
    return batch
