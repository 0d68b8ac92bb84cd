"""A training step replayed as a CUDA graph instead of dispatched operation by operation.

A graph is a step's kernels with the addresses they read and write. A step that is to be captured
therefore keeps what it changes in tensors that stay where they are (weights, momenta, sums), takes
what differs from call to call as its arguments, and never waits for the device. The first calls
are plain: real steps, and the warm-up that capturing needs.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from classification.acceleration import GraphMode
from classification.errors import DeviceError

Step = Callable[..., object]  # takes tensors; what it returns is not kept
_PLAIN_CALLS = 3  # of each shape, before it is captured


class Recorder(Protocol):
    """Runs a step so that it may be captured later, and captures it."""

    def run(self, step: Step, inputs: Sequence[Tensor]) -> None:
        """One plain call."""

    def capture(self, step: Step, inputs: Sequence[Tensor]) -> Callable[[], None]:
        """What replays the step on whatever `inputs` then hold; the step itself is not run.

        Raises RuntimeError if the step cannot be captured.
        """
        ...


class ReplayedStep:
    """A step that is captured once for each combination of its arguments' shapes.

    A smaller last batch so gets a graph of its own. If capturing fails, `say` is told and the step
    runs plainly from then on, unless `required`: then DeviceError is raised.
    """

    def __init__(
        self, step: Step, recorder: Recorder, say: Callable[[str], None], required: bool = False
    ) -> None:
        self._step, self._recorder = step, recorder
        self._say, self._required = say, required
        self._possible = True
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._graphs: dict[tuple[torch.Size, ...], tuple[Sequence[Tensor], Callable[[], None]]] = {}

    def __call__(self, *inputs: Tensor) -> None:
        """Run the step on `inputs`, which keep their device and type from call to call."""
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
            self._say(f"no CUDA graph, the plain path runs: {reason}")


class CudaRecorder:
    """Captures on a stream of its own, with one memory pool for all graphs.

    They may share it, since none leaves anything in it that another replay needs. `generators` are
    those the step draws from; seeding them anew between replays works as in plain calls.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, step: Step, inputs: Sequence[Tensor]) -> None:
        """As `Recorder.run`."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step(*inputs)
        current.wait_stream(self._stream)

    def capture(self, step: Step, inputs: Sequence[Tensor]) -> Callable[[], None]:
        """As `Recorder.capture`."""
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
    say: Callable[[str], None],
) -> list[Step]:
    """`steps` as they are where there is no CUDA device or `mode` is off, else captured."""
    if mode == "off" or device.type != "cuda":
        return list(steps)
    recorder = CudaRecorder(device, generators)
    return [ReplayedStep(step, recorder, say, required=mode == "on") for step in steps]
