"""PipelineConfig: each stage's own config, composed; YAML in, dotted overrides on top.

A mapping may name another file with `base:`, relative to its own; the keys beside it win.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from classification.classifier import ScorerConfig
from classification.datasets import DataConfig
from classification.errors import ConfigError
from evaluate.retrain import RetrainConfig
from pcdarts.search import SearchConfig
from subsample.selection import SubsetConfig
from subsample.uncertainty import ScoresConfig

Goal = Literal["network", "classifier"]

_MAX_BYTES = 1 << 20
_MAX_BASES = 8


class PipelineConfig(BaseModel, frozen=True, extra="forbid"):
    """Everything one run needs to know."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="of the folder under runs/"
    )
    goal: Goal = Field(
        "network",
        description="what the run is after: a network, searched for and retrained; or a "
        "classifier: the scorer alone, with a report of its own",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="from which all randomness is derived")
    data: DataConfig = Field(description="what is scored and searched on")
    target: DataConfig = Field(description="what the found network is retrained on; data if absent")
    scorer: ScorerConfig = Field(default_factory=ScorerConfig)
    scores: ScoresConfig = Field(default_factory=ScoresConfig)
    subset: SubsetConfig = Field(default_factory=SubsetConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    retrain: RetrainConfig = Field(default_factory=lambda: RetrainConfig.model_validate({}))

    @model_validator(mode="before")
    @classmethod
    def _target_is_data(cls, values: Any) -> Any:
        if isinstance(values, dict) and "data" in values:
            return {"target": values["data"]} | values
        return values


def load_config(
    path: Path, overrides: Sequence[str] = (), name: str | None = None
) -> PipelineConfig:
    """Read a YAML file, apply `KEY=VALUE` overrides, validate.

    Raises ConfigError in one line: the file, the key, what was found, what is allowed.
    """
    values = _read(path, depth=0)
    for override in overrides:
        _override(values, override)
    if name is not None:
        values["name"] = name
    values.setdefault("name", path.stem)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_describe(error)}") from error


def dump_config(config: PipelineConfig) -> str:
    """The resolved config as YAML that `load_config` reads back to the same value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(path: Path, depth: int) -> dict[str, Any]:
    if depth > _MAX_BASES:
        raise ConfigError(f"{path}: `base` leads through more than {_MAX_BASES} files; a circle?")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than a config can be ({_MAX_BYTES} bytes)")
        values = yaml.load(path.read_text(), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {detail}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found {_kind(values)}, allowed: a mapping of keys to values")
    return _resolve_bases(values, path, depth)


def _resolve_bases(values: dict[str, Any], path: Path, depth: int) -> dict[str, Any]:
    resolved = {
        key: _resolve_bases(value, path, depth) if isinstance(value, dict) else value
        for key, value in values.items()
        if key != "base"
    }
    if "base" not in values:
        return resolved
    if not isinstance(values["base"], str):
        raise ConfigError(f"{path}: base: found {values['base']!r}, allowed: a file's path")
    return _merge(_read(path.parent / values["base"], depth + 1), resolved)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merge(below[key], value) if both else value
    return merged


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {override}: found no KEY=VALUE; allowed: e.g. search.epochs=10")
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from error
    for part in parts[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {part} holds {_kind(inner)}, not a mapping")
        values = inner
    values[parts[-1]] = value


def _describe(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        fields = _fields(PipelineConfig, location[:-1])
        close = difflib.get_close_matches(location[-1], fields, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(fields)}{more}"
    if first["type"] == "missing":
        return f"{key}: missing; it has no default{more}"
    message = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], dict | BaseModel) else f"found {first['input']!r}; "
    return f"{key}: {found}{message[0].lower()}{message[1:]}{more}"


def _fields(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys allowed at a place in the config."""
    for part in location:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


def _kind(value: Any) -> str:
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
