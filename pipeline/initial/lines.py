"""Lines of a YAML config, each with its reason as a comment."""

import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

_WIDTH = 24  # of what precedes a comment


@dataclass(frozen=True)
class Key:
    """A line of a section, and why it says what it says."""

    name: str
    value: Any
    why: str = ""
    commented: bool = False


def render(key: Key) -> str:
    """Return the line of a section."""
    mark = "# " if key.commented else ""
    return line(f"  {mark}{key.name}: {scalar(key.value)}", key.why)


def line(text: str, why: str = "") -> str:
    """Return a line with its reason as a comment."""
    return f"{text:{_WIDTH}} # {why}" if why else text


def scalar(value: Any) -> str:
    """A value as YAML reads it back, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./~+-]+", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=not value.isprintable())
    return f"{value:.1e}" if isinstance(value, float) and value < 1e-3 else str(value)
