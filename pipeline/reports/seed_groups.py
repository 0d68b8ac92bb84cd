"""Groups of runs that differ only in their seed, and the format of their values."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from classification.errors import ConfigError
from evaluate.statistics import summarise_seeds

Run = TypeVar("Run")


def group_by_setting(
    runs: Sequence[Run],
    setting_of: Callable[[Run], Any],
    name_and_seed: Callable[[Run], tuple[str, int]],
) -> dict[str, tuple[Run, ...]]:
    """Group runs by `setting_key`, in the order of first occurrence.

    `setting_of` returns all settings except the seed, as JSON values. Raises ConfigError if a seed
    occurs twice in a setting.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(setting_key(setting_of(run)), []).append(run)
    for same in groups.values():
        names: dict[int, str] = {}
        for name, seed in map(name_and_seed, same):
            if seed in names:
                raise ConfigError(
                    f"RUN: {names[seed]} and {name} are the same training (equal settings and seed "
                    f"{seed}); allowed: each seed of a setting once"
                )
            names[seed] = name
    return {key: tuple(same) for key, same in groups.items()}


def setting_key(setting: Any) -> str:
    """Return the same text for equal settings."""
    return json.dumps(setting, sort_keys=True)


def varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe each setting by the keys in which the settings differ; empty if all are equal."""
    keys = dict.fromkeys(key for setting in settings for key in setting)
    different = [key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)]
    return [", ".join(f"{key} {s.get(key)}" for key in different) for s in settings]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return mean ± sample standard deviation, or a single value without deviation."""
    summary = summarise_seeds(values)
    deviation = "" if summary.std is None else f" ± {summary.std:.{digits}f}"
    return f"{summary.mean:.{digits}f}{deviation}"
