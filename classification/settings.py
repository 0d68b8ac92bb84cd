"""Which settings are fingerprinted: all fields of a config except those without effect."""

from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

# A field's `json_schema_extra`: another value costs other time or memory and gives the same result.
WITHOUT_EFFECT: JsonDict = {"without_effect": True}

Part = TypeVar("Part", bound=BaseModel)


def is_without_effect(field: FieldInfo) -> bool:
    """Whether the field is marked with `WITHOUT_EFFECT`."""
    return field.json_schema_extra == WITHOUT_EFFECT


def effective_settings(config: BaseModel) -> dict[str, Any]:
    """The fields that decide a result, as JSON values; those of nested models likewise."""
    return {
        name: _plain(getattr(config, name))
        for name, field in type(config).model_fields.items()
        if not is_without_effect(field)
    }


def part_of(config: BaseModel, base: type[Part]) -> Part:
    """The fields of `config` that `base`, one of its base classes, declares, and no others."""
    return base.model_validate({name: getattr(config, name) for name in base.model_fields})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return effective_settings(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return to_jsonable_python(value)
