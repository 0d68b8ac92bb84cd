"""Messages of the validation: what is invalid in a config, in one line."""

import reprlib
from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError

from classification.errors import did_you_mean

_BOUNDS = ("less_than", "greater_than")  # kinds of errors


def describe_invalid(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first problem of invalid values: key, what was found, what is allowed."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    place = f"{key}: " if key else ""  # the message of the config as a whole names its keys
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        fields = _fields(model, location[:-1])
        hint = did_you_mean(location[-1], fields)
        return f"{key}: unknown key; {hint}allowed: {', '.join(fields)}{more}"
    if first["type"] == "missing":
        return f"{key}: missing; it has no default{more}"
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    if first["type"].startswith(_BOUNDS) and str(given).strip(" +-").lower() == "nan":
        message = "input should be a finite number"  # nan is outside of every bound
    found = "" if isinstance(given, dict | BaseModel) else f"found {reprlib.repr(given)}; "
    return f"{place}{found}{message[0].lower()}{message[1:]}{more}"


def _fields(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys allowed at a location in the config."""
    for part in (part for part in location if not part.isdigit()):
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
