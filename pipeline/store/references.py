"""Which artifacts the recorded runs refer to, those of studies and of the history included."""

import re
from collections.abc import Mapping, Sequence
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
    """Every run below `root`, whole or damaged."""
    folders = [root, *(path for path in sorted(root.rglob("*")) if path.is_dir())]
    return [folder for folder in map(RunFolder, folders) if folder.stands]


def references(roots: Sequence[Path]) -> References:
    """What all runs below `roots` refer to, in their manifest or by a path in their config.

    Raises ArtifactError, naming the file, if any run does not say, or a study has lost its cells.
    """
    found: dict[str, list[RunFolder]] = {}
    for root in roots:
        if not root.is_dir():
            raise ArtifactError(f"{root}: no such folder of runs; name it with --runs")
        for study in root.rglob(_STUDY):
            if not (study.parent / _CELLS).is_dir():
                raise ArtifactError(f"{study.parent / _CELLS}: the runs of the study are not there")
        for folder in recorded_runs(root):
            try:
                keys = {*folder.manifest()["stages"].values(), *_KEY.findall(folder.config_text())}
            except ArtifactError as error:
                raise ArtifactError(
                    f"{error}; so nobody knows what that run needs: mend it, or remove its folder"
                ) from error
            for key in keys:
                found.setdefault(key, []).append(folder)
    return References(found)
