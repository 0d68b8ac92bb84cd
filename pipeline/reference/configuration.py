"""docs/configuration.md, from the schema: every key with default, values and meaning."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config import PipelineConfig

_HEAD = """# Configuration

A config is a YAML file with the keys below. `configs/` has one for every purpose; its header states
what to expect. A file can extend another with `base: FILE`, relative to itself; its own keys take
precedence, and `--set KEY=VALUE` overrides both, with dots between keys (`--set search.epochs=10`)
and YAML as the value (`--set 'scorer.mixing={kind: none}'`). Unknown keys and values that are not
allowed are reported before anything starts.

After a change of a setting, the stages that depend on it, directly or through another stage, run
again. No stage depends on a key marked *without effect on results*.

```sh
python run_pipeline.py config configs/quickstart.yaml            # all keys, resolved
python run_pipeline.py config configs/quickstart.yaml --schema   # the JSON schema, for editors
```

This page is generated from that schema by `make docs`; a test compares the two.
"""
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_WITHOUT_EFFECT = "*Without effect on results.*"
_INT64 = 2**63  # bounds of the integer type, which are not shown


def config_reference() -> str:
    """Return the page as Markdown."""
    schema = PipelineConfig.model_json_schema()
    parts = [_HEAD]
    for path, model in _sections(schema):
        title = "Top level" if path is None else f"`{path}`"
        parts.append(f"\n## {title}\n")
        if path is not None:
            parts.append(f"\n{' '.join(model['description'].split())}\n")
        parts.append("\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n")
        required = set(model.get("required", [])) - {"target"}  # defaults to `data`
        for name, field in model["properties"].items():
            default = "required" if name in required else _default(field)
            meaning = field.get("description") or schema["$defs"][_reference(field)]["description"]
            if field.get("without_effect"):
                meaning = f"{meaning}. {_WITHOUT_EFFECT}"
            parts.append(f"| `{name}` | {default} | {_values(field)} | {_escape(meaning)} |\n")
    return "".join(parts)


def _sections(schema: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Yield dotted key and schema of each model once, at the first key that holds it."""
    waiting: list[tuple[str | None, Mapping[str, Any]]] = [(None, schema)]
    seen: set[str] = set()
    while waiting:
        path, model = waiting.pop(0)
        yield path, model
        for name, field in model["properties"].items():
            reference = _reference(field)
            if reference is not None and reference not in seen:
                seen.add(reference)
                inner = name if path is None else f"{path}.{name}"
                waiting.append((inner, schema["$defs"][reference]))


def _reference(field: Mapping[str, Any]) -> str | None:
    """Return the name of the model that a key holds, directly, in a list or as an option."""
    for each in (field, field.get("items", {}), *field.get("anyOf", [])):
        if "$ref" in each:
            return str(each["$ref"]).rpartition("/")[2]
    return None


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default", ...)
    if value is None:
        return "none"
    if value is ... or _reference(field) is not None:
        return "below"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _values(field: Mapping[str, Any]) -> str:
    """Describe in words what the schema allows."""
    if "anyOf" in field:
        return " or ".join(_values(each) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return "a mapping"
    kind = field.get("type", "anything")
    if kind == "array":
        items = field.get("items", {})
        return f"a list, each {_values(items)}" if items else "a list"
    if kind == "null":
        return "none"
    names = {"string": "text", "boolean": "`true`, `false`"}
    word = "a path" if field.get("format") == "path" else names.get(kind, f"{kind}")
    bounds = [
        f"{sign} {field[key]}"
        for key, sign in _BOUNDS.items()
        if key in field and abs(field[key]) < _INT64
    ]
    return f"{word} {', '.join(bounds)}".strip()


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
