"""YAML documents: their values, and the line of each, for error messages."""

import copy
import functools
import re
import reprlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from classification.errors import ConfigError
from classification.persistence.untrusted_files import read_regular

_MAX_BYTES = 1 << 18
_MAX_NUMBER = 2**63


@dataclass(frozen=True)
class Document:
    """A YAML file that holds a mapping."""

    path: Path
    values: dict[str, Any]
    _root: yaml.Node = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file. Raises ConfigError, naming it, if it is unreadable or not a mapping."""
        try:
            text = read_regular(path, _MAX_BYTES).decode("utf-8-sig")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text ({error})") from error
        except ValueError as error:
            raise ConfigError(f"{path}: cannot be read ({error})") from error
        try:
            root, values = _parse(text)
        except yaml.YAMLError as error:
            detail = " ".join(str(error).split())
            raise ConfigError(f"{path}: not valid YAML: {detail}") from error
        if root is None or not isinstance(values, dict):
            raise ConfigError(
                f"{path}: found {kind_of(values)}, allowed: a mapping of keys to values"
            )
        try:
            check_values(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return cls(path, copy.deepcopy(values), root)

    def line(self, *location: str | int) -> int:
        """Return the line, from 1, of the value at these keys and positions, or of its parent."""
        node, line = self._root, 1
        for part in location:
            if isinstance(node, yaml.MappingNode):
                found = [(key, value) for key, value in node.value if key.value == part]
                if not found:
                    break
                key, node = found[0]
                line = key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                if part >= len(node.value):
                    break
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def where(self, *location: str | int) -> str:
        """Return `file:line` of that value, to start a message with."""
        return f"{self.path}:{self.line(*location)}"


def parse_value(text: str) -> Any:
    """Parse one YAML value. Raises yaml.YAMLError."""
    return copy.deepcopy(_parse(text)[1])


def dump_values(values: Mapping[str, Any]) -> str:
    """Return YAML that `Document.read` reads back to the same values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def check_values(value: Any, key: str = "") -> None:
    """Raise ConfigError, naming the dotted key, for values that no setting can have.

    These are numbers beyond 64 bits, infinities, and text that cannot be encoded.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            check_values(name, f"a key of {key or 'the file'}")
            check_values(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_values(inner, f"{key}.{index}")
    elif isinstance(value, int | float) and not abs(value) < _MAX_NUMBER:
        found = f"a number of {value.bit_length()} bits" if isinstance(value, int) else value
        raise ConfigError(f"{key}: found {found}; allowed: numbers below 2^63")
    elif isinstance(value, str) and any(map(_is_control, value)):
        raise ConfigError(
            f"{key}: found {reprlib.repr(value)}; allowed: text without control characters"
        )


def kind_of(value: Any) -> str:
    """Return the name of a value's type for messages."""
    return "nothing" if value is None else type(value).__name__


@functools.lru_cache(maxsize=256)  # each trial of a study reads the same files
def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """Parse a text to node and value, both None if it is empty. Raises yaml.YAMLError.

    Both are shared by all who parse the same text: not to be changed.
    """
    try:
        loader = _StrictLoader(text)
        try:
            root = loader.get_single_node()
            return root, None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
    except ValueError as error:  # of a number with thousands of digits
        raise yaml.YAMLError(str(error).partition(":")[0]) from error


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs")  # Cs: half of a character


class _Dumper(yaml.SafeDumper):
    """YAML that `_StrictLoader` reads back to the same values."""


class _StrictLoader(yaml.SafeLoader):
    """YAML without features that a config does not need: duplicate keys (the last would win),
    anchors (a few lines of them can expand to gigabytes), tags, and dates, which stay text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.YAMLError("anchors and aliases are not allowed")
        if event.tag is not None:
            raise yaml.YAMLError(f"tags are not allowed (line {event.start_mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"key {key!r} is not text (line {node.start_mark.line + 1})")
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} twice (line {node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if not pair[0].endswith(":timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads 1e-4 as text; configs mean the number, and the text 1e-4 is written in quotes.
for side in (_StrictLoader, _Dumper):
    side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
        list("-+0123456789"),
    )
