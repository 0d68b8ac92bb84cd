"""The images of a folder in memory: mapped if they are kept, else decoded and kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from classification.data.config import DataConfig
from classification.data.decoding import Decoding, Findings
from classification.data.file_index import FileIndex
from classification.data.folders import ImageFolder
from classification.data.loaders import ImageSet
from classification.data.pixel_cache import KeptImages, PixelCache
from classification.data.transforms import channel_histogram


@dataclass(frozen=True)
class FolderPixels:
    """Both splits, and the `channel_histogram` and the files of the training images."""

    train: ImageSet
    test: ImageSet
    counts: Tensor
    decoding: Decoding
    notes: tuple[str, ...]
    files: FileIndex


def read_pixels(
    config: DataConfig,
    listing: str | None,
    found: ImageFolder,
    decode: Callable[[], tuple[Tensor, Decoding, Findings]],
) -> FolderPixels:
    """Return the images of `found`, mapped if they are kept and intact, else by `decode`.

    Both ways give the same bytes. `listing` identifies the files (`source.listing_of`).
    """
    cache, notes = PixelCache(config, listing), list[str]()
    try:
        kept = cache.load()
        if kept is not None:
            return _verified(kept, found, config)
    except (ValueError, KeyError, TypeError):
        notes.append(
            f"the decoded images in {cache.path} were damaged; the files are decoded again"
        )
    images, decoding, treated = decode()
    train, test = _splits(images, found)
    counts = channel_histogram(train.images)
    description = {
        "digests": [train.known_digest, test.known_digest],
        "counts": counts.tolist(),
        "bits": decoding.bits,
        "treated": asdict(treated),
    }
    cache.save(KeptImages(images.numpy(), len(train), description))
    return FolderPixels(
        train, test, counts, decoding, (*notes, *decoding.describe(treated)), found.train
    )


def _verified(kept: KeptImages, found: ImageFolder, config: DataConfig) -> FolderPixels:
    """Return kept images. Raises ValueError if they are damaged."""
    train, test = _splits(torch.from_numpy(kept.pixels), found)
    if [train.known_digest, test.known_digest] != kept.description["digests"]:
        raise ValueError("the digest of the pixels differs")
    counts = torch.tensor(kept.description["counts"])
    decoding = replace(Decoding.of(config), bits=kept.description["bits"])
    treated = Findings(**kept.description["treated"])
    return FolderPixels(
        train, test, counts, decoding, tuple(decoding.describe(treated)), found.train
    )


def _splits(images: Tensor, found: ImageFolder) -> list[ImageSet]:
    """Deal images to both splits, with their digests. Raises ValueError for another number."""
    sizes = [len(found.train), len(found.test)]
    if sum(sizes) != len(images):
        raise ValueError("another number of images")
    parts = zip(images.split(sizes), (found.train, found.test), strict=True)
    splits = [ImageSet(part, files.labels) for part, files in parts]
    return [replace(split, known_digest=split.digest()) for split in splits]
