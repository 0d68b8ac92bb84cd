"""Lists what changed since the last run of the same name, and which stages run again."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from classification.settings import effective_settings
from pipeline.config import flatten
from pipeline.documents import parse_value
from pipeline.graph import SOURCES
from pipeline.run_folder import LastRun
from pipeline.runner import Runner
from pipeline.store.store import MANIFEST

_SHOWN = 6  # changes in a line


def changes_since(last: LastRun, runner: Runner) -> list[str]:
    """List what differs from `last` and which stages run again; empty if nothing differs."""
    if last.stages == runner.keys:
        return []
    if not last.stages:
        return ["the record of the last run of this name is damaged"]
    try:
        before = parse_value(last.config_text)
        settings = changed_settings(before, runner.config.model_dump(mode="json"))
    except (yaml.YAMLError, AttributeError):
        settings = ""
    what = settings or "the images or the code, not the settings"
    return [f"changed since the last run of this name: {what}", *_remade(runner, last.stages)]


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """List every setting that differs, by dotted key: `search.epochs 2 → 3`."""
    old, new = flatten(before), flatten(after)
    keys = [key for key in (old | new) if old.get(key) != new.get(key)]
    shown = [f"{key} {_value(old, key)} → {_value(new, key)}" for key in keys[:_SHOWN]]
    more = [f"{len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return ", ".join([*shown, *more])


def _remade(runner: Runner, before: Mapping[str, str]) -> list[str]:
    """Return a line with the reason for each stage with an artifact under its fingerprint in
    `before` but none under its present one."""
    lines = []
    for stage in runner.order:
        old, new = before.get(stage), runner.keys[stage]
        if old is None or old == new or runner.store.path(stage, new).exists():
            continue
        try:
            made = json.loads((runner.store.path(stage, old) / MANIFEST).read_text())
            reasons = _reasons(runner, stage, made)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no existing artifact is affected
        lines.append(f"{stage:8} made again {new}  ({'; '.join(reasons)})")
    return lines


def _reasons(runner: Runner, stage: str, made: Mapping[str, Any]) -> list[str]:
    """Return why a stage differs from its artifact with the manifest `made`."""
    recipe = runner.stages[stage]
    reasons = []
    if made["version"] != recipe.version:
        reasons.append(f"the code of {stage} is version {recipe.version}, was {made['version']}")
    for need in recipe.needs(runner.config):
        was = made["inputs"].get(need, {})
        if need not in SOURCES:
            if was.get("fingerprint") != runner.keys[need]:
                reasons.append(f"another {need}")
        elif was.get("content_hash") != runner.datasets[need].content_hash:
            reasons.append(f"the images of {need} changed")
    settings = effective_settings(recipe.settings(runner.config))
    changes = changed_settings(made["settings"], settings)
    return [*filter(None, [changes]), *reasons]


def _value(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"
