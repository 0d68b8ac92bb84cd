"""The artifact store: built in a workspace, published atomically by fingerprint, verified on use.

artifacts/
  <stage>/<fingerprint>/            published: its files and artifact.json
  <stage>/.work-<fingerprint>/      unfinished: checkpoints, metrics, partial results
  <stage>/.lock-<fingerprint>       held by the process that makes it
  ledger.jsonl                      the cost of every attempt
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

from classification.durations import format_duration
from classification.errors import ArtifactError, PipelineError
from classification.persistence.storage import writable, write_atomically
from classification.persistence.untrusted_files import read_object
from pipeline.store.checksum import add_checksum, checksum, verify_checksum
from pipeline.store.ledger import Attempt, Cost, Ledger
from pipeline.store.stopwatch import RECORD, record_attempt

MANIFEST = "artifact.json"
_FORMAT = 1  # of manifests, including those that name no format


@dataclass(frozen=True)
class Artifact:
    """A published artifact. `digest` is the fingerprint of its files' checksums."""

    stage: str
    fingerprint: str
    path: Path
    digest: str
    manifest: dict[str, Any]


class FormatError(ArtifactError):
    """A valid artifact of another version of this program: neither used nor replaced."""


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return 16 hex digits that identify a JSON-serialisable description of all that determines the
    content."""
    return checksum(recipe)[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The artifact folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = Ledger(root / "ledger.jsonl")

    def path(self, stage: str, key: str) -> Path:
        """Return the path of the published artifact, which need not exist."""
        return self.root / stage / key

    def workspace(self, stage: str, key: str) -> Path:
        return self.root / stage / f".work-{key}"

    def lock(self, stage: str, key: str) -> FileLock:
        """Return the lock to hold while making the artifact; the system releases it on a crash.

        Raises ArtifactError at once if the store cannot be written.
        """
        path = self.root / stage / f".lock-{key}"
        with writable(path.parent, "--artifacts"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                path.rmdir()  # an empty folder in place of the lock file
            if path.is_dir() or path.is_symlink():
                raise ArtifactError(f"{path}: found a folder or a link instead of a lock file")
            path.open("a").close()
        return FileLock(path)

    def is_locked(self, stage: str, key: str) -> bool:
        """Whether a running process is making the artifact; does not write to the store."""
        return is_locked(self.root / stage / f".lock-{key}")

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return the artifact after verifying every file's checksum; None if it was never made.

        Raises ArtifactError, naming the damaged file, or FormatError if another version of the
        program made the artifact.
        """
        path = self.path(stage, key)
        if not os.path.lexists(path):
            return None
        if (path / RECORD).exists():
            with suppress(OSError, PipelineError):  # a process with write permission will do it
                self.tidy(stage, key)
        manifest = self.manifest(stage, key)
        for problem in damaged_files(path, manifest):
            raise ArtifactError(problem)
        return Artifact(stage, key, path, fingerprint(manifest["files"]), manifest)

    def manifest(self, stage: str, key: str) -> dict[str, Any]:
        """Return the manifest of a published artifact without checking the artifact's files.

        Raises ArtifactError, naming the file, if the manifest is damaged or of another artifact,
        FormatError as `find` does.
        """
        path = self.path(stage, key) / MANIFEST
        found = read_object(path)
        if found.get("format", _FORMAT) != _FORMAT:
            raise FormatError(
                f"{path.parent}: made by another version of this program (format "
                f"{found['format']!r}; this version reads {_FORMAT}); use that version, or "
                "choose another store with --artifacts"
            )
        manifest = verify_checksum(found, path)
        if (manifest.get("stage"), manifest.get("fingerprint")) != (stage, key):
            raise ArtifactError(f"{path}: damaged; it describes another artifact")
        if not isinstance(manifest.get("files"), dict):
            raise ArtifactError(f"{path}: damaged; it does not list files")
        return manifest

    def publish(self, stage: str, key: str, description: Mapping[str, Any]) -> Artifact:
        """Publish the finished workspace atomically.

        Replaces an earlier (damaged, or forcibly remade) artifact. Checkpoints are deleted after
        the move, so a process killed before it resumes at the last epoch. The attempt's record
        moves too and is added to the ledger afterwards, if need be by the next process that finds
        the artifact.
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
        """Rename whatever is at `path` to a path where it can be deleted slowly; return that."""
        retired = path.with_name(f".old-{key}")
        if os.path.lexists(path):
            discard(retired)
            path.rename(retired)
        return retired

    def tidy(self, stage: str, key: str) -> None:
        """Remove a published artifact's leftovers; the attempt's record last, as it marks the work
        as unfinished."""
        path = self.path(stage, key)
        for file in leftovers(path):
            if file.name != RECORD:
                discard(file)
        record_attempt(self.ledger, path)


def store_of(run: Mapping[str, Any], root: Path | None = None) -> Store:
    """Return the store at `root` or, if that is None, the one that a run's manifest names.

    Raises ArtifactError if it does not exist.
    """
    root = root or Path(run.get("artifacts", "artifacts"))
    if not root.is_dir():
        raise ArtifactError(f"{root}: folder not found; name the store with --artifacts")
    return Store(root)


def reused_line(store: Store, stage: str, key: str) -> str:
    """Return the message that a stage's artifact is reused, with its cost."""
    cost = Cost.of(store.ledger.attempts([key]))
    return f"{stage:8} reused   {key}  ({cost} when it was made)"


def done_line(store: Store, attempt: Attempt) -> str:
    """Return the message that an attempt made its artifact: its time and cost, without those of
    earlier attempts."""
    now = " now" if len(store.ledger.attempts([attempt.fingerprint])) > 1 else ""
    cost = f"{format_duration(attempt.seconds)}, {Cost.of([attempt])}{now}"
    return f"{attempt.stage:8} done     {attempt.fingerprint}  ({cost})"


def damaged_files(path: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line, naming the file, for each of an artifact's files that has changed."""
    for name, expected in manifest["files"].items():
        try:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                yield f"{path / MANIFEST}: damaged; it lists {name!r}, outside the artifact"
            elif (path / name).exists() and not (path / name).is_file():
                yield f"{path / name}: damaged; not a file"
            elif file_digest(path / name) != expected:
                yield f"{path / name}: damaged; its checksum differs"
        except OSError as error:
            yield f"{path / name}: damaged ({error.strerror})"


def leftovers(path: Path) -> list[Path]:
    """Return the files of unfinished work that a kill left in a published artifact."""
    return [p for p in sorted(path.iterdir()) if _is_scaffolding(p) and p.name != MANIFEST]


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_scaffolding(path: Path) -> bool:
    """Whether a file is used only while making an artifact and is not part of it."""
    return path.name == MANIFEST or path.name.startswith(("checkpoint-", "attempt.", "."))


def _sync(path: Path) -> None:
    """Flush a file's bytes, or the renames in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a running process holds the lock file; writes nothing."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
