"""The paths of a split, packed into tensors that worker processes share.

The listing of a large tree is kept in the user's cache folder ($XDG_CACHE_HOME or ~/.cache). What
is kept serves again while the split has the same class folders, each with the modification time it
had, which adding, removing or renaming a file changes, and while a sample of the files has the
sizes it had. A file overwritten in place outside that sample goes unnoticed; remove the cache, or
touch its folder, to have it listed again.
"""

import contextlib
import hashlib
import json
import os
import time
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classification.persistence.storage import cache_folder, replacing

_CACHED_FROM = 10_000  # files; fewer are listed faster than a cache is worth
_SAMPLED = 256  # files whose size is compared with the kept one
_SETTLED_NS = 2_000_000_000  # a folder changed later than this before its listing may change unseen
_CHUNK = 8192  # names made at a time
_VERSION = 3
_DIGEST_BYTES = 32  # before the archive


@dataclass(frozen=True)
class FolderFiles:
    """The names of a folder's images in their order, and their sizes in bytes."""

    names: Sequence[str]
    sizes: Sequence[int]
    linked: bool = False  # whether any is a symbolic link
    passed_over: Mapping[str, int] = field(default_factory=dict)  # other files, by ending


@dataclass(frozen=True, eq=False)
class FileIndex:
    """Files below `root` and the class index of each, int64 [N].

    `rows` says which of the listed files these are, so that a part costs no copy of the names.
    """

    root: Path
    folders: tuple[str, ...]  # relative to root
    names: Tensor  # uint8: all names end to end
    ends: Tensor  # int64 [M]: where each name ends
    owners: Tensor  # int32 [M]: the folder of each
    all_sizes: Tensor  # int64 [M], bytes
    rows: Tensor  # int64 [N]
    labels: Tensor  # int64 [N]
    passed_over: Mapping[str, int] = field(default_factory=dict)  # other files, by ending

    @classmethod
    def of(cls, root: Path, folders: Sequence[str], files: Iterable[FolderFiles]) -> "FileIndex":
        """The files of each folder, in order; the folder's place is their class."""
        names, ends, sizes, counts = bytearray(), array("q"), array("q"), array("q")
        passed_over: Counter[str] = Counter()
        for folder in files:
            passed_over.update(folder.passed_over)
            for name in folder.names:
                names += os.fsencode(name)
                ends.append(len(names))
            sizes.extend(folder.sizes)
            counts.append(len(folder.names))
        owners = torch.arange(len(counts), dtype=torch.int32).repeat_interleave(_tensor(counts))
        parts = (_bytes(names), _tensor(ends), owners, _tensor(sizes))
        return cls._whole(root, folders, *parts, passed_over)

    @classmethod
    def _whole(
        cls,
        root: Path,
        folders: Sequence[str],
        names: Tensor,
        ends: Tensor,
        owners: Tensor,
        sizes: Tensor,
        passed_over: Mapping[str, int],
    ) -> "FileIndex":
        rows = torch.arange(len(ends))
        labels = owners.long()
        return cls(
            root, tuple(folders), names, ends, owners, sizes, rows, labels, dict(passed_over)
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> Tensor:
        """Bytes of each file, int64 [N]."""
        return self.all_sizes[self.rows]

    @property
    def paths(self) -> list[Path]:
        """Every file's path, for folders small enough to hold in memory."""
        return [self.root / os.fsdecode(name) for name, _, _ in self.entries()]

    def path(self, index: int) -> Path:
        row = int(self.rows[index])
        start, end = int(self.ends[row - 1]) if row else 0, int(self.ends[row])
        name = os.fsdecode(self.names[start:end].numpy().tobytes())
        return self.root / self.folders[int(self.owners[row])] / name

    def entries(self) -> Iterator[tuple[bytes, int, int]]:
        """Every file's path from `root` on, with slashes, its size in bytes and its label."""
        for rows, labels in zip(self.rows.split(_CHUNK), self.labels.split(_CHUNK), strict=True):
            sizes = self.all_sizes[rows].tolist()
            yield from zip(self._relative(rows), sizes, labels.tolist(), strict=True)

    def take(self, indices: Tensor) -> "FileIndex":
        """The files at `indices`, int64 [n], in that order."""
        return replace(self, rows=self.rows[indices], labels=self.labels[indices])

    def _relative(self, rows: Tensor) -> Iterator[bytes]:
        starts = torch.where(rows > 0, self.ends[rows - 1], 0).tolist()
        ends, owners = self.ends[rows].tolist(), self.owners[rows].tolist()
        names = self.names.numpy()
        for start, end, owner in zip(starts, ends, owners, strict=True):
            folder = os.fsencode(self.folders[owner])
            yield folder + b"/" + names[start:end].tobytes()


class IndexCache:
    """The kept listing of `folders` below `root`, of at most `at_most` files each."""

    def __init__(self, root: Path, split: str, folders: Sequence[str], at_most: int | None) -> None:
        self._root, self._folders = root, tuple(folders)
        key = [_VERSION, os.fsdecode(root.resolve()), split, len(folders), at_most]
        self._description = json.dumps([*key, hashlib.sha256(repr(folders).encode()).hexdigest()])
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
        home = cache_folder()
        self._path = None if home is None else home / f"index-{name}.npz"
        self._listed_ns = time.time_ns()
        self._changed = self._times()

    def load(self) -> FileIndex | None:
        """What was kept, if it still holds; None if there is nothing, or nothing to rely on."""
        if self._path is None or self._changed is None or not self._path.is_file():
            return None
        try:
            with self._path.open("rb") as file:
                if file.read(_DIGEST_BYTES) != _digest_of_rest(file):
                    return None
                with np.load(file, allow_pickle=False) as kept:
                    if str(kept["description"]) != self._description:
                        return None
                    if not np.array_equal(kept["changed"], self._changed):
                        return None
                    parts = [kept[name] for name in ("names", "ends", "owners", "sizes")]
                    passed_over = json.loads(str(kept["passed_over"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if not _fits(parts, len(self._folders)):
            return None
        names, ends, owners, sizes = map(torch.from_numpy, parts)
        index = FileIndex._whole(self._root, self._folders, names, ends, owners, sizes, passed_over)
        return index if _same_sizes(index) else None

    def save(self, index: FileIndex) -> None:
        """Keep the listing if it is large and at rest. A cache that cannot be written is none."""
        if self._path is None or self._changed is None or len(index) < _CACHED_FROM:
            return
        if int(self._changed.max()) > self._listed_ns - _SETTLED_NS:
            return
        arrays: dict[str, Any] = {
            "description": np.array(self._description),
            "changed": self._changed,
            "passed_over": np.array(json.dumps(dict(index.passed_over))),
            "names": index.names.numpy(),
            "ends": index.ends.numpy(),
            "owners": index.owners.numpy(),
            "sizes": index.all_sizes.numpy(),
        }
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as temporary, temporary.open("w+b") as file:
                file.write(bytes(_DIGEST_BYTES))
                np.savez(file, **arrays)
                file.seek(_DIGEST_BYTES)
                digest = _digest_of_rest(file)
                file.seek(0)
                file.write(digest)

    def _times(self) -> np.ndarray | None:
        """When each folder was last changed, int64 nanoseconds."""
        try:
            times = [(self._root / folder).stat().st_mtime_ns for folder in self._folders]
        except OSError:
            return None
        return np.array(times, dtype=np.int64)


def _digest_of_rest(file: BufferedReader | BufferedRandom) -> bytes:
    """SHA-256 of what follows in `file`, which is left where it was."""
    place = file.tell()
    digest = hashlib.file_digest(file, "sha256").digest()
    file.seek(place)
    return digest


def _fits(parts: Sequence[np.ndarray], folders: int) -> bool:
    """Whether arrays read from a file are an index of files that lie in their class folders."""
    names, ends, owners, sizes = parts
    if [part.dtype.name for part in parts] != ["uint8", "int64", "int32", "int64"]:
        return False
    if any(part.ndim != 1 for part in parts) or not len(ends) == len(owners) == len(sizes) > 0:
        return False
    ordered = ends[0] > 0 and ends[-1] == len(names) and bool((ends[1:] > ends[:-1]).all())
    owned = owners[0] == 0 and owners[-1] == folders - 1 and bool((owners[1:] >= owners[:-1]).all())
    return ordered and owned and not bool((names == ord("/")).any())


def _same_sizes(index: FileIndex) -> bool:
    """Whether files spread evenly over the index have the sizes it holds."""
    sample = torch.linspace(0, len(index) - 1, min(_SAMPLED, len(index))).long()
    part = index.take(sample)
    try:
        sizes = [path.stat().st_size for path in part.paths]
    except OSError:
        return False
    return sizes == part.sizes.tolist()


def _tensor(numbers: "array[int]") -> Tensor:
    return torch.frombuffer(numbers, dtype=torch.int64) if numbers else torch.zeros(0).long()


def _bytes(content: bytearray) -> Tensor:
    return torch.frombuffer(content, dtype=torch.uint8) if content else torch.zeros(0).byte()
