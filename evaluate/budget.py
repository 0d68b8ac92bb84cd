"""The budget of a network: most parameters, multiply-adds and latency, as quantities with units."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator

_COUNTS = {"": 0, "K": 3, "M": 6, "G": 9, "B": 9}  # powers of ten
_TIMES = {"us": -3, "µs": -3, "ms": 0, "s": 3}  # of a millisecond
_MOST = Decimal(10) ** 15


def read_count(value: Any) -> int:
    """Read a number such as 5000000, 5M or 1.2G. Raises ValueError for anything else."""
    found = _read(value, _COUNTS)
    if found is None or found != found.to_integral_value():
        raise ValueError(
            "allowed: a number above 0, optionally with K, M or G for thousands, millions or "
            "billions, such as 5M"
        )
    return int(found)


def read_milliseconds(value: Any) -> float:
    """Read a time with its unit, such as 20ms or 0.02s. Raises ValueError for anything else."""
    found = _read(value, _TIMES)
    if found is None:
        raise ValueError("allowed: a time above 0 with its unit, such as 20ms or 0.02s")
    return float(found)


def _read(value: Any, units: dict[str, int]) -> Decimal | None:
    """Return a positive quantity in the unit whose power of ten is 0, None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    number = text.rstrip("".join({letter for unit in units for letter in unit}))
    unit = text[len(number) :]
    try:
        found = Decimal(number.strip())
        if unit not in units or not 0 < found <= _MOST:
            return None
        found = found.scaleb(units[unit])
    except InvalidOperation:
        return None
    return found if found <= _MOST else None


Count = Annotated[int, BeforeValidator(read_count, json_schema_input_type=int | str)]
Milliseconds = Annotated[
    float,
    BeforeValidator(read_milliseconds, json_schema_input_type=str),
    PlainSerializer(lambda milliseconds: f"{milliseconds!r}ms", return_type=str),
]


class BudgetConfig(BaseModel, frozen=True, extra="forbid"):
    """Limits of the retrained network at the target's image size. The widest network that keeps all
    of them is retrained: `retrain.channels` then has no effect. In a contest, each contestant has
    the channels of its widest network: `contest.training.channels` then has no effect.
    """

    parameters: Count | None = Field(
        None, description="most parameters, the auxiliary head not counted, such as 5M"
    )
    multiply_adds: Count | None = Field(
        None,
        description="most multiply-adds for one image, of convolutions and classifier, such as "
        "600M",
    )
    latency: Milliseconds | None = Field(
        None,
        description="longest time for one image in inference mode on the device of the run, such "
        "as 20ms; the median of repeated measurements",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.parameters is None and self.multiply_adds is None and self.latency is None:
            raise ValueError("allowed: at least one of parameters, multiply_adds and latency")
        return self
