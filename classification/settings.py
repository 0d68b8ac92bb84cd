"""Which settings are fingerprinted: all fields of a config except those without effect."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

# `json_schema_extra` of a field that changes time or memory but not the result.
WITHOUT_EFFECT: JsonDict = {"without_effect": True}
# `json_schema_extra` of a field whose default does what was done before the field existed: it is
# fingerprinted at other values only, so that earlier results are found again.
ADDED_LATER: JsonDict = {"added_later": True}

Part = TypeVar("Part", bound=BaseModel)


def is_without_effect(field: FieldInfo) -> bool:
    """Whether the field is marked with `WITHOUT_EFFECT`."""
    return field.json_schema_extra == WITHOUT_EFFECT


def effective_settings(config: BaseModel) -> dict[str, Any]:
    """Return the fields that affect a result, as JSON values, also those of nested models."""
    return {
        name: _plain(getattr(config, name))
        for name, field in type(config).model_fields.items()
        if not is_without_effect(field)
        and not (field.json_schema_extra == ADDED_LATER and getattr(config, name) == field.default)
    }


def part_of(config: BaseModel, base: type[Part]) -> Part:
    """Return the fields of `config` that `base`, one of its base classes, declares."""
    return base.model_validate({name: getattr(config, name) for name in base.model_fields})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return effective_settings(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return to_jsonable_python(value)


def shorten_warm_ups(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults, with warm-ups that would fill all of the given epochs in proportion."""
    epochs = given.get("epochs")
    if type(epochs) is not int or epochs <= 0:
        return dict(defaults)
    return {
        name: value * epochs // defaults["epochs"]
        if name.endswith("warmup_epochs") and value >= epochs
        else value
        for name, value in defaults.items()
    }
