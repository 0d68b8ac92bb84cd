"""Verifies every file in a store, and the records of runs, against their checksums."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from classification.errors import ArtifactError
from classification.persistence.workspace import finished_steps
from pipeline.maintenance.inventory import Entry, size_of
from pipeline.run_folder import RESULTS, RunFolder
from pipeline.store.checksum import read_verified
from pipeline.store.ledger import Attempt, Cost
from pipeline.store.resumption import damage_of
from pipeline.store.stopwatch import open_attempt
from pipeline.store.store import MANIFEST, FormatError, Store, damaged_files, leftovers


@dataclass(frozen=True)
class Finding:
    """The result of one check: the subject's state in a word, and lines that explain it.

    If it is damaged, the lines name the damaged files.
    """

    subject: str
    state: str
    lines: tuple[str, ...]
    damaged: bool = False

    def __str__(self) -> str:
        return "\n".join(f"{self.subject}  {self.state:8} {line}" for line in self.lines)


def check_entry(store: Store, entry: Entry) -> Finding:
    """Verify every file of an artifact, or every checkpoint of unfinished work."""
    subject = f"{entry.stage:10} {entry.key}"
    if store.is_locked(entry.stage, entry.key):
        return Finding(subject, "running", ("a process is making it",))
    if entry.kind == "begun":
        return _check_begun(store, entry, subject)
    try:
        manifest = store.manifest(entry.stage, entry.key)
    except FormatError as error:
        return Finding(subject, "unknown", (str(error),))
    except ArtifactError as error:
        return Finding(subject, "damaged", (str(error),), damaged=True)
    damaged = tuple(damaged_files(entry.path, manifest))
    if damaged:
        return Finding(subject, "damaged", damaged, damaged=True)
    names = manifest["files"]
    size = sum(size_of(entry.path / name) for name in names)
    lines = [f"{len(names)} file{'' if len(names) == 1 else 's'}, {decimal(size)}"]
    known = {entry.path / MANIFEST, *(entry.path / name for name in names)}
    known |= set(leftovers(entry.path))
    strange = [path for path in sorted(entry.path.rglob("*")) if path not in known]
    lines += [
        f"{path}: not part of the artifact; never read"
        for path in strange
        if not path.is_dir() or path.is_symlink()
    ]
    return Finding(subject, "intact", tuple(lines))


def check_ledger(store: Store) -> Finding:
    """Count the valid lines of the ledger, and report the invalid ones."""
    path = store.ledger.path
    try:
        lines = list(store.ledger.lines())
    except ArtifactError as error:
        return Finding("ledger", "damaged", (str(error),), damaged=True)
    torn = [number for number, attempt in lines if attempt is None]
    if torn:
        named = tuple(f"{path}: line {n} is invalid; its cost is not counted" for n in torn)
        return Finding("ledger", "damaged", named, damaged=True)
    total = Cost.of(attempt for _, attempt in lines if attempt is not None)
    return Finding("ledger", "intact", (f"{len(lines)} attempts, {total}",))


def check_run(folder: RunFolder, store: Store, attempts: Sequence[Attempt]) -> Finding:
    """Verify a run's record and results, and that the artifacts it refers to exist in `store`.

    `attempts` are all in the ledger. An artifact that was made and is missing counts as damage, one
    that was never made does not.
    """
    subject = f"run {folder.path}"
    try:
        manifest = folder.manifest()
        folder.config_text()
        results = folder.report / RESULTS
        if os.path.lexists(results):
            read_verified(results)
    except ArtifactError as error:
        return Finding(subject, "damaged", (str(error),), damaged=True)
    elsewhere = Path(manifest["artifacts"])
    if elsewhere.resolve() != store.root.resolve():
        return Finding(subject, "intact", (f"its artifacts are in another store, {elsewhere}",))
    missing = list(_missing(manifest["stages"], store, attempts))
    if missing:
        return Finding(subject, "damaged", tuple(missing), damaged=True)
    made = sum(store.path(stage, key).exists() for stage, key in manifest["stages"].items())
    return Finding(subject, "intact", (f"{made} of {len(manifest['stages'])} stages made",))


def _check_begun(store: Store, entry: Entry, subject: str) -> Finding:
    damaged = tuple(damage_of(entry.path))
    if damaged:
        return Finding(subject, "damaged", damaged, damaged=True)
    unrecorded = open_attempt(entry.path)
    attempts = [*store.ledger.attempts([entry.key]), *([unrecorded] if unrecorded else [])]
    how_far = attempts[-1].how_far if attempts else ""
    steps = finished_steps(entry.path)
    checkpoint = f"valid checkpoint after step {steps}" if steps else "no checkpoint yet"
    return Finding(subject, "partial", (f"interrupted{how_far}, {checkpoint}",))


def _missing(stages: dict[str, str], store: Store, attempts: Sequence[Attempt]) -> Iterator[str]:
    made = {attempt.fingerprint for attempt in attempts if attempt.outcome == "done"}
    for stage, key in stages.items():
        path = store.path(stage, key)
        if key in made and not path.exists() and not store.workspace(stage, key).exists():
            yield f"{path}: missing, although it was made; `run` makes it again"
