"""JSON objects that carry their own checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.errors import ArtifactError
from classification.persistence.untrusted_files import read_object

_CHECKSUM = "checksum"


def checksum(value: Any) -> str:
    """Return the SHA-256 in hex of a JSON-serialisable value, independent of its key order."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def add_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object, converted to JSON types, with its checksum."""
    plain = json.loads(json.dumps(value))
    return {**plain, _CHECKSUM: checksum(plain)}


def verify_checksum(value: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the object without its checksum; an old object without one is returned unchanged.

    Raises ArtifactError, naming the file it was read from, if the checksum differs.
    """
    plain = {name: part for name, part in value.items() if name != _CHECKSUM}
    if value.get(_CHECKSUM) not in (None, checksum(plain)):
        raise ArtifactError(f"{path}: damaged; its checksum differs")
    return plain


def read_verified(path: Path) -> dict[str, Any]:
    """Read an object from a file. Raises ArtifactError, naming it, if its checksum differs."""
    return verify_checksum(read_object(path), path)
