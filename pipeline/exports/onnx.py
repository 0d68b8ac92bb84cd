"""Exports a network as one ONNX file that takes pixels, checked against torch.

The input is a decoder's output: uint8 RGB pixels [N, 3, S, S] with any N. The graph includes
scaling and normalisation, since a mistake there would lower the accuracy without an error.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from classification.errors import WorkError
from classification.training.step import logits_of
from evaluate.width import median_milliseconds
from pipeline.device import device_name
from pipeline.exports.network import NetworkConfig, TrainedNetwork, trained_network
from pipeline.exports.recorded_run import RecordedRun
from pipeline.reports.footprint import Latencies

SUFFIX = ".onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # absolute, or relative to the largest logit if that exceeds 1
_INPUT, _OUTPUT = "pixels", "logits"
_CHECKED = (1, 5)  # batch sizes, both different from the one used for tracing
_TRACED = 2
OPSETS = range(18, 26)
"""The operator sets that torch 2.12's exporter writes directly, and onnxruntime 1.32 reads. For a
lower one it converts, and keeps 18 where that fails, as it does for a stack of cells."""
OPSET = 20  # torch's default


class FromPixels(nn.Module):
    """A network that takes uint8 images [N, 3, H, W] and returns only its logits [N, L]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, config: NetworkConfig) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(config.std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] to float32 [N, L]."""
        return logits_of(self.network((pixels.float() / 255 - self.mean) / self.std))


def write_onnx(run: RecordedRun, path: Path, opset: int = OPSET) -> None:
    """Write one file of that operator set, weights included.

    Raises WorkError if onnxruntime and torch disagree, or if torch writes another operator set.
    """
    trained = trained_network(run)
    model = FromPixels(trained.network, trained.config).eval()
    side = trained.config.image_size
    example = torch.zeros(_TRACED, 3, side, side, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes={_INPUT: {0: torch.export.Dim("batch", min=1)}},
            opset_version=opset,
            verbose=False,
        )
        assert program is not None
        if (written := program.model.opset_imports[""]) != opset:
            raise WorkError(f"onnx: torch wrote opset {written} for {opset}; nothing was written")
        program.model.metadata_props.update(_metadata(trained))
        program.save(path, external_data=False)
    check_agreement(path, model, side)
    if trained.stage == "retrain" and run.folder.report.is_dir():
        _keep_latency(run, path, side)


def check_agreement(path: Path, model: nn.Module, side: int) -> None:
    """Raise WorkError unless the file and the model give the same logits for all batch sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for number in _CHECKED:
        pixels = torch.randint(256, (number, 3, side, side), generator=generator).byte()
        with torch.inference_mode():
            expected = model(pixels)
        (found,) = session.run([_OUTPUT], {_INPUT: pixels.numpy()})
        scale = max(1.0, float(expected.abs().max()))
        difference = float((torch.from_numpy(found) - expected).abs().max()) / scale
        if not difference <= TOLERANCE:
            raise WorkError(
                f"onnx: onnxruntime's logits differ from torch's by {difference:.2g} (allowed: "
                f"{TOLERANCE:g}); nothing was written"
            )


def _keep_latency(run: RecordedRun, path: Path, side: int) -> None:
    """Measure the file's latency for the run's report, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = {_INPUT: torch.zeros(1, 3, side, side, dtype=torch.uint8).numpy()}
    milliseconds = median_milliseconds(lambda: session.run([_OUTPUT], image))
    runtime = f"onnxruntime {onnxruntime.__version__}"
    with suppress(OSError):  # a run that cannot be written is exported all the same
        latencies = Latencies(run.folder.report, run.stages["retrain"])
        latencies.keep(runtime, device_name(torch.device("cpu")), milliseconds)


def _metadata(trained: TrainedNetwork) -> dict[str, str]:
    """Return the file's metadata; ONNX allows only strings."""
    config = trained.config
    return {
        "name": config.name,
        "class_names": json.dumps(config.class_names, ensure_ascii=False),
        "input": f"uint8 RGB pixels [N, 3, {config.image_size}, {config.image_size}], 0 to 255; "
        "normalisation is included",
        "output": f"logits float32 [N, {config.num_classes}], in the order of class_names",
        "resize": str(config.resize),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log lines and warnings of torch and onnxscript at every export."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
