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
    """SHA-256 in hex over a JSON-able value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def add_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object as JSON holds it, with its checksum."""
    plain = json.loads(json.dumps(value))
    return {**plain, _CHECKSUM: checksum(plain)}


def verify_checksum(value: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A sealed object without its checksum; one from before there were seals as it is.

    Raises ArtifactError, naming the file it came from, if it is not what was sealed.
    """
    plain = {name: part for name, part in value.items() if name != _CHECKSUM}
    if value.get(_CHECKSUM) not in (None, checksum(plain)):
        raise ArtifactError(f"{path}: damaged; its checksum differs")
    return plain


def read_verified(path: Path) -> dict[str, Any]:
    """The object sealed in a file. Raises ArtifactError, naming it, if it is another by now."""
    return verify_checksum(read_object(path), path)
