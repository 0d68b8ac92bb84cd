"""The artifact store: made in a workspace, published whole by fingerprint, verified before use.

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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from classification.errors import ArtifactError, PipelineError
from classification.persistence.storage import writable, write_atomically
from classification.persistence.untrusted_files import read_object
from pipeline.store.checksum import add_checksum, checksum, verify_checksum
from pipeline.store.ledger import Ledger
from pipeline.store.stopwatch import RECORD, record_attempt

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
    return checksum(recipe)[:16]


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
        return self.root / stage / f".work-{key}"

    def lock(self, stage: str, key: str) -> FileLock:
        """Held while the artifact is made; released by the system if the process dies.

        Raises ArtifactError at once if the store cannot be written.
        """
        path = self.root / stage / f".lock-{key}"
        with writable(path.parent, "--artifacts"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                path.rmdir()  # an empty folder in its place
            if path.is_dir() or path.is_symlink():
                raise ArtifactError(f"{path}: found a folder or a link where a lock belongs")
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
        if not os.path.lexists(path):
            return None
        if (path / RECORD).exists():
            with suppress(OSError, PipelineError):  # whoever may write here will do it
                self.tidy(stage, key)
        manifest = self.manifest(stage, key)
        for problem in damaged_files(path, manifest):
            raise ArtifactError(problem)
        return Artifact(stage, key, path, fingerprint(manifest["files"]), manifest)

    def manifest(self, stage: str, key: str) -> dict[str, Any]:
        """What a published artifact says of itself, its files unchecked.

        Raises ArtifactError, naming the file, if that is damaged or of another artifact,
        FormatError as `find` does.
        """
        path = self.path(stage, key) / MANIFEST
        found = read_object(path)
        if found.get("format", _FORMAT) != _FORMAT:
            raise FormatError(
                f"{path.parent}: made by another version of this program (format "
                f"{found['format']!r}); allowed: {_FORMAT}; go on with that version, or "
                "name another store with --artifacts"
            )
        manifest = verify_checksum(found, path)
        if (manifest.get("stage"), manifest.get("fingerprint")) != (stage, key):
            raise ArtifactError(f"{path}: damaged; it describes another artifact")
        if not isinstance(manifest.get("files"), dict):
            raise ArtifactError(f"{path}: damaged; it names no files")
        return manifest

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
        for result in results:
            _sync(result)
        manifest = {"stage": stage, "fingerprint": key, **description, "files": files}
        text = json.dumps(add_checksum(manifest), indent=1, sort_keys=True)
        write_atomically(work / MANIFEST, text + "\n")
        retired = self.put_aside(path, key)
        work.rename(path)
        _sync(path.parent)
        self.tidy(stage, key)
        with suppress(OSError):
            discard(retired)
        return Artifact(stage, key, path, fingerprint(files), self.manifest(stage, key))

    def put_aside(self, path: Path, key: str) -> Path:
        """Rename what stands at `path`, whole, to where it may be deleted at leisure."""
        retired = path.with_name(f".old-{key}")
        if os.path.lexists(path):
            discard(retired)
            path.rename(retired)
        return retired

    def tidy(self, stage: str, key: str) -> None:
        """What is left to do where an artifact stands; the record goes last, and says if it was."""
        path = self.path(stage, key)
        for file in leftovers(path):
            if file.name != RECORD:
                discard(file)
        record_attempt(self.ledger, path)


def store_of(run: Mapping[str, Any], root: Path | None = None) -> Store:
    """The store that a run's manifest names, unless `root` names another.

    Raises ArtifactError if it is not there.
    """
    root = root or Path(run.get("artifacts", "artifacts"))
    if not root.is_dir():
        raise ArtifactError(f"{root}: no such folder of artifacts; name it with --artifacts")
    return Store(root)


def damaged_files(path: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """A line, naming the file, for each of an artifact's files that is not what was published."""
    for name, expected in manifest["files"].items():
        try:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                yield f"{path / MANIFEST}: damaged; it names {name!r}, which is not of the artifact"
            elif (path / name).exists() and not (path / name).is_file():
                yield f"{path / name}: damaged; it is no file"
            elif file_digest(path / name) != expected:
                yield f"{path / name}: damaged; its checksum differs"
        except OSError as error:
            yield f"{path / name}: damaged ({error.strerror})"


def leftovers(path: Path) -> list[Path]:
    """What served the making of a published artifact, where a kill kept it from being removed."""
    return [p for p in sorted(path.iterdir()) if _is_scaffolding(p) and p.name != MANIFEST]


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds; nothing if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_scaffolding(path: Path) -> bool:
    """Whether a file serves the making of an artifact and is no part of it."""
    return path.name == MANIFEST or path.name.startswith(("checkpoint-", "attempt.", "."))


def _sync(path: Path) -> None:
    """Make a file's bytes, or the renames in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
