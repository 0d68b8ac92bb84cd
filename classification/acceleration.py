"""What a CUDA device can do faster: bf16 arithmetic, and replaying a step as a CUDA graph."""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator

from classification.errors import ConfigError

Precision = Literal["fp32", "bf16"]


def _spell_out(mode: Any) -> Any:
    """YAML reads a bare on or off as a truth value."""
    return ("on" if mode else "off") if isinstance(mode, bool) else mode


GraphMode = Annotated[Literal["auto", "on", "off"], BeforeValidator(_spell_out)]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The block's convolutions and products in `precision`; its sums and losses in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def check_acceleration(
    stage: str, precision: Precision, cuda_graph: GraphMode, device: torch.device
) -> None:
    """Raise ConfigError, naming the key, for what `device` cannot do.

    bf16 is refused on a CPU, where the weight gradient of a dilated depthwise 5×5 convolution of
    four channels comes out non-finite.
    """
    if device.type == "cuda":
        return
    if precision != "fp32":
        raise ConfigError(
            f"{stage}.precision: found {precision!r} on a {device.type}; allowed there: fp32"
        )
    if cuda_graph == "on":
        raise ConfigError(
            f"{stage}.cuda_graph: found 'on' on a {device.type}; allowed there: auto, off"
        )
