"""CUDA acceleration: bf16 arithmetic, and training steps captured as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator

from classification.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Precision = Literal["fp32", "bf16"]


def spell_out(mode: Any) -> Any:
    """Turn a boolean, which YAML makes of a bare on or off, into its name."""
    return ("on" if mode else "off") if isinstance(mode, bool) else mode


GraphMode = Annotated[Literal["auto", "on", "off"], BeforeValidator(spell_out)]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Run convolutions and matrix products in `precision`; sums and losses stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    import torch  # slow to import, and the settings above need none of it

    return torch.autocast(device.type, torch.bfloat16)


def check_acceleration(
    stage: str, precision: Precision, cuda_graph: GraphMode, device: torch.device
) -> None:
    """Raise ConfigError, naming the key, for a setting that `device` does not support.

    bf16 is refused on a CPU, where oneDNN's weight gradient of some dilated convolutions with
    groups is wrong or not finite, the supernet's among them (torch 2.14.1).
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


Step = Callable[..., object]  # takes tensors; its result is discarded
_PLAIN_CALLS = 3  # calls of each shape before it is captured


class Recorder(Protocol):
    """Runs a step in a way that allows capturing it later, and captures it."""

    def run(self, step: Step, inputs: Sequence[Tensor]) -> None:
        """Run the step once, uncaptured."""

    def capture(self, step: Step, inputs: Sequence[Tensor]) -> Callable[[], None]:
        """Return a function that replays the step on the current values of `inputs`.

        The step itself is not run. Raises RuntimeError if the step cannot be captured.
        """
        ...


class ReplayedStep:
    """A step that is captured once per combination of argument shapes (a last batch is smaller).

    If capturing fails, the reason is logged and the step runs uncaptured from then on; if
    `required`, DeviceError is raised.
    """

    def __init__(
        self, step: Step, recorder: Recorder, log: Callable[[str], None], required: bool = False
    ) -> None:
        self._step, self._recorder = step, recorder
        self._log, self._required = log, required
        self._possible = True
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._graphs: dict[tuple[torch.Size, ...], tuple[Sequence[Tensor], Callable[[], None]]] = {}

    def __call__(self, *inputs: Tensor) -> None:
        """Run the step on `inputs`, whose device and type must not change between calls."""
        shapes = tuple(tensor.shape for tensor in inputs)
        calls = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._possible and shapes not in self._graphs and calls > _PLAIN_CALLS:
            self._capture(shapes, inputs)
        if shapes not in self._graphs:
            self._recorder.run(self._step, inputs)
            return
        places, replay = self._graphs[shapes]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        replay()

    def _capture(self, shapes: tuple[torch.Size, ...], inputs: Sequence[Tensor]) -> None:
        places = [tensor.clone() for tensor in inputs]
        try:
            self._graphs[shapes] = places, self._recorder.capture(self._step, places)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if self._required:
                raise DeviceError(
                    f"cuda_graph: on, but the step cannot be captured ({reason}); "
                    "allowed: auto, off"
                ) from error
            self._possible = False
            self._log(f"CUDA graph not captured, running without it: {reason}")


class CudaRecorder:
    """Captures on a separate CUDA stream, with one memory pool for all graphs.

    They can share it because no replay needs memory that another one wrote. `generators` are those
    that the step draws from; they can be reseeded between replays.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        import torch

        self._generators = generators
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, step: Step, inputs: Sequence[Tensor]) -> None:
        import torch

        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step(*inputs)
        current.wait_stream(self._stream)

    def capture(self, step: Step, inputs: Sequence[Tensor]) -> Callable[[], None]:
        import torch

        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            step(*inputs)
        return graph.replay


def replayed(
    steps: Sequence[Step],
    mode: GraphMode,
    device: torch.device,
    generators: Sequence[torch.Generator],
    log: Callable[[str], None],
) -> list[Step]:
    """Return captured `steps`; unchanged ones without a CUDA device or with `mode` off."""
    if mode == "off" or device.type != "cuda":
        return list(steps)
    recorder = CudaRecorder(device, generators)
    return [ReplayedStep(step, recorder, log, required=mode == "on") for step in steps]
