"""Which artifacts the recorded runs refer to, those of studies and of the history included."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from classification.errors import ArtifactError
from pipeline.run_folder import RunFolder

_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_STUDY, _CELLS = "study.json", "cells"


@dataclass(frozen=True)
class References:
    """The runs that refer to each fingerprint."""

    folders: Mapping[str, Sequence[RunFolder]]

    def __contains__(self, key: str) -> bool:
        return key in self.folders

    def in_history_alone(self, key: str) -> bool:
        """Whether only runs that others took the place of refer to `key`."""
        return all(folder.is_history for folder in self.folders.get(key, ())) and key in self


def recorded_runs(root: Path) -> list[RunFolder]:
    """Every run below `root`, whole or damaged.

    Raises ArtifactError, naming it, if a folder there cannot be listed.
    """
    return [folder for folder in map(RunFolder, _folders(root)) if folder.stands]


def references(roots: Sequence[Path]) -> References:
    """What all runs below `roots` refer to, in their manifest or by a path in their config.

    Raises ArtifactError, naming the file, if any run does not say, or a study has lost its cells.
    """
    found: dict[str, list[RunFolder]] = {}
    for root in roots:
        if not root.is_dir():
            raise ArtifactError(f"{root}: no such folder of runs; name it with --runs")
        for folder in _folders(root):
            if (folder / _STUDY).exists() and not (folder / _CELLS).is_dir():
                raise ArtifactError(f"{folder / _CELLS}: the runs of the study are not there")
            for path in folder.iterdir():
                if path.is_symlink() and not path.exists():
                    raise ArtifactError(f"{path}: leads nowhere, where a run may have been")
        for run in recorded_runs(root):
            try:
                keys = {*run.manifest()["stages"].values(), *_KEY.findall(run.config_text())}
            except ArtifactError as error:
                raise ArtifactError(
                    f"{error}; so nobody knows what that run needs: mend it, or remove its folder"
                ) from error
            for key in keys:
                found.setdefault(key, []).append(run)
    return References(found)


def _folders(root: Path) -> Iterator[Path]:
    """`root` and all folders below it, those behind links too, each once."""
    seen = set()
    for name, below, _ in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(name)
        if real in seen:
            below.clear()  # a link back up
            continue
        seen.add(real)
        below.sort()
        yield Path(name)


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed may hold runs."""
    if not isinstance(error, FileNotFoundError):
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
