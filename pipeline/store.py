"""Artifacts by fingerprint: made in a workspace, published whole, verified before use.

artifacts/
  <stage>/<fingerprint>/            published: its files and artifact.json
  <stage>/.work-<fingerprint>/      in the making: checkpoints, metrics, partial results
  <stage>/.lock-<fingerprint>       held by the process that makes it
  ledger.jsonl                      what every attempt cost
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from classification.checkpoint import write_atomically
from classification.errors import ArtifactError, PipelineError
from classification.storage import writable
from pipeline.ledger import Ledger
from pipeline.stopwatch import RECORD, book_attempt

MANIFEST = "artifact.json"
_FORMAT = 1  # of manifests; one that names none is of this one


@dataclass(frozen=True)
class Artifact:
    """A published artifact. `digest` is taken over the checksums of its files."""

    stage: str
    fingerprint: str
    path: Path
    digest: str
    manifest: dict[str, Any]


class FormatError(ArtifactError):
    """A whole artifact of another version of this program: not to be used, nor to be replaced."""


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """16 hex digits over a JSON-able description of everything that decides the content."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The artifact folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = Ledger(root / "ledger.jsonl")

    def path(self, stage: str, key: str) -> Path:
        """Where the published artifact lies, if it does."""
        return self.root / stage / key

    def workspace(self, stage: str, key: str) -> Path:
        """Where the artifact is made."""
        return self.root / stage / f".work-{key}"

    def lock(self, stage: str, key: str) -> FileLock:
        """Held while the artifact is made; released by the system if the process dies.

        Raises ArtifactError at once if the store cannot be written.
        """
        path = self.root / stage / f".lock-{key}"
        with writable(path.parent, "--artifacts"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        return FileLock(path)

    def is_locked(self, stage: str, key: str) -> bool:
        """Whether a living process is making the artifact now; asks without writing."""
        try:
            with (self.root / stage / f".lock-{key}").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artifact, every file checked against its checksum; None if it was never made.

        Raises ArtifactError, naming the file, if it is damaged, FormatError if another version of
        the program made it.
        """
        path = self.path(stage, key)
        if not path.exists():
            return None
        if (path / RECORD).exists():
            with suppress(OSError, PipelineError):  # whoever may write here will do it
                self._tidy(path)
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            if manifest.get("format", _FORMAT) != _FORMAT:
                raise FormatError(
                    f"{path}: made by another version of this program (format "
                    f"{manifest['format']!r}); allowed: {_FORMAT}; go on with that version, or "
                    "name another store with --artifacts"
                )
            files = manifest["files"]
            for name, expected in files.items():
                if file_digest(path / name) != expected:
                    raise ArtifactError(f"{path / name}: damaged; its checksum differs")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path}: damaged ({error})") from error
        return Artifact(stage, key, path, fingerprint(files), manifest)

    def publish(self, stage: str, key: str, description: Mapping[str, Any]) -> Artifact:
        """Move the finished workspace to its place; readers see all of it or nothing.

        What stood there before (a damaged or a forced artifact) is replaced. Checkpoints stay
        until the move is done: a process killed before it resumes at the last epoch. The record of
        the attempt moves along and is booked then: an artifact that stands is booked, if need be by
        who finds it next.
        """
        work, path = self.workspace(stage, key), self.path(stage, key)
        results = [p for p in work.rglob("*") if p.is_file() and not _is_scaffolding(p)]
        files = {p.relative_to(work).as_posix(): file_digest(p) for p in sorted(results)}
        manifest = {"stage": stage, "fingerprint": key, **description, "files": files}
        write_atomically(work / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        retired = self.root / stage / f".old-{key}"
        if path.exists():
            shutil.rmtree(retired, ignore_errors=True)
            path.rename(retired)
        work.rename(path)
        _sync_folder(path.parent)
        self._tidy(path)
        shutil.rmtree(retired, ignore_errors=True)
        return Artifact(stage, key, path, fingerprint(files), manifest)

    def _tidy(self, path: Path) -> None:
        """What is left to do where an artifact stands; the record goes last, and says if it was."""
        for file in filter(_is_scaffolding, path.iterdir()):
            if file.name not in (MANIFEST, RECORD):
                file.unlink(missing_ok=True)
        book_attempt(self.ledger, path)


def store_of(run: Mapping[str, Any], root: Path | None = None) -> Store:
    """The store that a run's manifest names, unless `root` names another.

    Raises ArtifactError if it is not there.
    """
    root = root or Path(run.get("artifacts", "artifacts"))
    if not root.is_dir():
        raise ArtifactError(f"{root}: no such folder of artifacts; name it with --artifacts")
    return Store(root)


def _is_scaffolding(path: Path) -> bool:
    """Whether a file serves the making of an artifact and is no part of it."""
    return path.name == MANIFEST or path.name.startswith(("checkpoint-", "attempt.", "."))


def _sync_folder(path: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
