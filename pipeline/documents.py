"""A YAML document: its values, and the line on which each of them stands."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from classification.errors import ConfigError

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Document:
    """A YAML file that holds a mapping."""

    path: Path
    values: dict[str, Any]
    _root: yaml.Node = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Raises ConfigError, naming the file, if it cannot be read or holds something else."""
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ConfigError(f"{path}: larger than a config can be ({_MAX_BYTES} bytes)")
            loader = _StrictLoader(path.read_text())
            try:
                root = loader.get_single_node()
                values = None if root is None else loader.construct_document(root)
            finally:
                loader.dispose()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            detail = " ".join(str(error).split())
            raise ConfigError(f"{path}: not valid YAML: {detail}") from error
        if root is None or not isinstance(values, dict):
            raise ConfigError(
                f"{path}: found {kind_of(values)}, allowed: a mapping of keys to values"
            )
        return cls(path, values, root)

    def line(self, *location: str | int) -> int:
        """The line, from 1, of what stands at these keys and positions, or of the nearest above."""
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
        """`file:line` of what stands there, to open a message with."""
        return f"{self.path}:{self.line(*location)}"


def parse_value(text: str) -> Any:
    """One YAML value. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_StrictLoader)


def kind_of(value: Any) -> str:
    """What a message calls a value's type."""
    return "nothing" if value is None else type(value).__name__


class _StrictLoader(yaml.SafeLoader):
    """YAML without what a config does not need: duplicate keys (the last would win silently) and
    anchors (a few lines of them can expand to gigabytes)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.YAMLError(f"key {key!r} is not text (line {node.start_mark.line + 1})")
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key {key!r} twice (line {node.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-4 as text; configs mean the number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)
