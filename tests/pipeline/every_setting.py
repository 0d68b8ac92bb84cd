"""Walks over every field of a config and finds those that no stage sees.

A field is changed to other valid values, in each of some base configs, and the fingerprints of all
stages are compared. Images count by their content, as in a run.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from classification.data.config import DataConfig
from classification.data.datasets import load_dataset
from classification.errors import PipelineError
from classification.models import MODELS
from classification.settings import is_without_effect
from evaluate.budget import Milliseconds
from pipeline.config import PipelineConfig
from pipeline.graph import build_graph, fingerprints
from pipeline.stages import STAGES

Key = tuple[str | int, ...]

_ENOUGH = 2  # values of a leaf that is marked


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value; or may hold a model or models, and here none."""

    key: Key
    annotation: Any
    marked: bool

    def __str__(self) -> str:
        return ".".join(map(str, self.key))


def leaves(model: type[BaseModel], above: Key = (), marked: bool = False) -> Iterator[Leaf]:
    """Every leaf of a model and of the models in it; of a list of models its first, and where one
    model or a list is allowed, that and the second."""
    for name, field in model.model_fields.items():
        key, without = (*above, name), marked or is_without_effect(field)
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if inner is None:
            yield Leaf(key, field.annotation, without)
            continue
        several = get_origin(field.annotation) is tuple
        if several or NoneType in kinds:
            yield Leaf(key, tuple[()] if several else NoneType, without)
        yield from leaves(inner, (*key, 0) if several else key, without)
        if not several and any(get_origin(kind) is tuple for kind in kinds):  # one or a list
            yield from leaves(inner, (*key, 1), without)


def problems(
    root: type[PipelineConfig],
    bases: Mapping[str, dict[str, Any]],
    paths: Sequence[Path],
    wanted: Sequence[Leaf],
) -> list[str]:
    """What is wrong with each of the `wanted` leaves of `root`, if anything is.

    `bases` are values of configs, some of which use the leaf; `paths` what a path may be set to.
    """
    found = []
    configs = {name: root.model_validate(values) for name, values in bases.items()}
    before = {name: (config, observe(config)) for name, config in configs.items()}
    for leaf in wanted:
        known, changing = False, None
        for name in before:
            changes = list(_changes(root, *before[name], leaf, paths))
            known, changing = known or bool(changes), name if any(changes) else None
            if changing is not None:
                break
        if not known:
            found.append(f"{leaf}: no base config allows another value that this test knows")
        elif leaf.marked and changing is not None:
            found.append(f"{leaf}: marked as without effect, yet it counts in {changing}")
        elif not leaf.marked and changing is None:
            found.append(f"{leaf}: no stage sees it, and it is not marked as without effect")
    return found


def observe(config: PipelineConfig) -> dict[str, str]:
    """The fingerprints of a config's stages, of the images as they are now."""
    names = {"data", "target"} & set(build_graph(STAGES, config))
    content = {name: _content_hash(getattr(config, name)) for name in names}
    return fingerprints(STAGES, config, content)


def _changes(
    root: type[PipelineConfig],
    base: PipelineConfig,
    before: dict[str, str],
    leaf: Leaf,
    paths: Sequence[Path],
) -> Iterator[bool]:
    """Whether fingerprints change, for valid values of the leaf that are not its own, up to the
    first that does; of a leaf that is marked a few will do.
    """
    dumped = base.model_dump()
    try:
        own = _at(dumped, leaf.key)
    except (KeyError, TypeError, IndexError):
        return  # of a model that the base does without
    number = 0
    for value in _others(leaf.annotation, own, paths):
        changed = deepcopy(dumped)
        _at(changed, leaf.key[:-1])[leaf.key[-1]] = value
        try:
            change = observe(root.model_validate(changed)) != before
        except (ValidationError, PipelineError, OSError):
            continue
        yield change
        number += 1
        if change or (leaf.marked and number == _ENOUGH):
            return


def _others(annotation: Any, own: Any, paths: Sequence[Path]) -> Iterator[Any]:
    """Values that the annotation allows, but for bounds and validators; never `own`."""
    yield from (value for value in _values(annotation, own, paths) if value != own)


def _values(annotation: Any, own: Any, paths: Sequence[Path]) -> Iterator[Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        for each in inner:
            yield from _values(each, own, paths)
    elif origin is Literal:
        yield from inner
    elif annotation is Milliseconds:
        yield from ("3.0ms", "7.0ms")
    elif origin is Annotated:
        yield from _values(inner[0], own, paths)
    elif annotation is NoneType:
        yield None
    elif origin is tuple:
        yield ()
        if own:
            yield from (own[:-1], own[1:], own[:1], own[::-1])
    elif annotation is bool:
        yield from (True, False)
    elif annotation is int:
        near = own or 0
        yield from (near + 1, near + 2, near - 1, near - 2, 2 * near, near // 2, *range(17), 64)
    elif annotation is float:
        near = own or 0.0
        yield from (near / 2, 2 * near, near + 0.01, 0.01, 0.1, 0.25, 0.5, 0.9, 1.5)
    elif annotation is str:
        yield from (*MODELS, "#123456", f"{own}x")
    elif annotation is Path:
        yield from paths
    else:
        raise AssertionError(f"{annotation}: this test knows no values of it")


def _at(values: Any, key: Key) -> Any:
    for part in key:
        values = values[part]
    return values


@cache
def _content_hash(data: DataConfig) -> str:
    return load_dataset(data).content_hash
