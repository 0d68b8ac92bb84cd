"""record.json of a report: what it was made from; it is drawn again only if that changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.data.source import source_of
from classification.errors import PipelineError
from classification.persistence.storage import write_atomically
from pipeline.config import PipelineConfig, dump_config
from pipeline.graph import fingerprints
from pipeline.reports.training_time import compared_fingerprints
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.checksum import add_checksum, checksum, read_verified
from pipeline.store.store import Artifact, Store, file_digest
from subsample.subset_config import SubsetConfig

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset

RECORD = "record.json"
_ROOT = Path(__file__).parents[2]
_ROOMS = ("classification", "subsample", "pcdarts", "evaluate", "pipeline")
_LIBRARIES = ("jinja2", "matplotlib", "numpy", "pillow", "scipy", "torch")


def report_key(
    folder: RunFolder,
    config: PipelineConfig,
    contents: Mapping[str, str],
    artifacts: Mapping[str, Artifact],
    store: Store,
) -> str:
    """Return a digest of all that decides a report: the run's config and manifest, the files of its
    artifacts, the cost of these and of the work with which the report compares them, and the code.

    `contents` are the content hashes of the images by dataset.
    """
    made_from = {
        "folder": str(folder.path),
        "config": folder.config_text(),
        "manifest": folder.manifest(),
        "artifacts": {name: artifact.digest for name, artifact in artifacts.items()},
    }
    made = [artifact.fingerprint for artifact in artifacts.values()]
    return digest_with_code(made_from, store, [*made, *_compared(config, contents["data"])])


def digest_with_code(made_from: Mapping[str, Any], store: Store, shown: Iterable[str]) -> str:
    """Return a digest of `made_from`, as JSON, of the attempts in the ledger at the fingerprints
    `shown`, and of the code."""
    attempts = [asdict(attempt) for attempt in store.ledger.attempts(shown)]
    code = {"code": _code(), "libraries": {name: version(name) for name in _LIBRARIES}}
    return checksum({**made_from, "attempts": attempts, **code})


def _compared(config: PipelineConfig, content_hash: str) -> tuple[str, ...]:
    """Return the fingerprints of other work whose cost the report shows, if it was done."""
    if config.goal == "classifier":
        return compared_fingerprints(config, content_hash)
    if config.goal == "network" and config.genotype is None:
        return (full_search_fingerprint(config, content_hash),)
    return ()


def full_search_fingerprint(config: PipelineConfig, content_hash: str) -> str:
    """Return the fingerprint of the same search on all images."""
    full = config.goal_alone.model_copy(
        update={"subset": SubsetConfig(measure="full", fraction=1.0)}
    )
    return fingerprints(STAGES, full, {"data": content_hash, "target": content_hash})["search"]


def is_current(folder: Path, key: str) -> bool:
    """Whether the report in `folder` was made from what `key` stands for, and is as it was left."""
    try:
        record = read_verified(folder / RECORD)
        files = record["files"].items()
        return record["key"] == key and all(
            file_digest(folder / name) == digest for name, digest in files
        )
    except (PipelineError, OSError, KeyError, TypeError, AttributeError):
        return False


def write_record(
    folder: Path,
    key: str,
    datasets: Mapping[str, ImageDataset],
    patterns: Sequence[str] = ("*",),
) -> None:
    """Record that the report's present files, which match one of `patterns`, were made from what
    `key` stands for."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    record = {
        "key": key,
        "files": {path.name: file_digest(path) for path in sorted(found) if path.name != RECORD},
        "images": {
            name: {
                "source": dataset.source,
                "content_hash": dataset.content_hash,
                "notes": dataset.notes,
            }
            for name, dataset in datasets.items()
        },
    }
    text = json.dumps(add_checksum(record), indent=1, ensure_ascii=False)
    write_atomically(folder / RECORD, text + "\n")


def unchanged_run(
    folder: RunFolder, config: PipelineConfig, store: Store
) -> dict[str, Artifact] | None:
    """Return the artifacts of a run that has nothing to do, None if it has or may have.

    Neither the images are read nor torch is imported: the images' files must have the sizes and
    times of change they had (`source_of`), and everything else the content it had when the report
    was made.
    """
    try:
        images = read_verified(folder.report / RECORD)["images"]
        sources = {name: source_of(getattr(config, name)) for name in images}
        if any(each is None or each != images[name]["source"] for name, each in sources.items()):
            return None
        contents = {name: each["content_hash"] for name, each in images.items()}
        keys, manifest = fingerprints(STAGES, config, contents), folder.manifest()
        if folder.config_text() != dump_config(config) or manifest["stages"] != keys:
            return None
        found = {stage: store.find(stage, key) for stage, key in keys.items()}
        made = {stage: artifact for stage, artifact in found.items() if artifact is not None}
        if len(made) < len(keys) or manifest["artifacts"] != str(store.root):
            return None
        key = report_key(folder, config, contents, made, store)
        return made if is_current(folder.report, key) else None
    except (PipelineError, OSError, KeyError, TypeError, AttributeError):
        return None  # whatever is wrong, a run that reads the images says it


def notes_of(folder: RunFolder) -> list[str]:
    """Return what the last run said about its images, a line each."""
    images = read_verified(folder.report / RECORD)["images"]
    lines = [f"{name}: {note}" for name, each in images.items() for note in each["notes"]]
    same = "target" in images and images["target"] == images.get("data")
    return [line for line in lines if not (same and line.startswith("target: "))]


@cache
def _code() -> str:
    """Return a digest of the source files, the templates and the style of the pages."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((_ROOT / room).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0")
                digest.update(path.read_bytes())
    return digest.hexdigest()
