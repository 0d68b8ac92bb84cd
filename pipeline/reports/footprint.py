"""Size and latency of the retrained network, measured once for each device.

A latency differs from one measurement to the next. It is kept in latency.json beside the report, so
that a report that is drawn again shows the same one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from classification.data.datasets import ImageDataset
from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.seeding import seeded
from evaluate.footprint import measure_footprint
from evaluate.retrain import build_network
from evaluate.width import LATENCY_RUNS, measure_latency
from pipeline.config import PipelineConfig
from pipeline.device import device_name, resolve_device
from pipeline.stages.retrain import retrained_network
from pipeline.store.checksum import add_checksum, read_verified
from pipeline.store.store import Artifact

LATENCY = "latency.json"
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Latencies:
    """latency.json in a report's folder: those of one network, by runtime and device."""

    folder: Path
    network: str
    """Fingerprint of the stage that trained the network; latencies of another are dropped."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            content = read_verified(self.folder / LATENCY)
            return iter(content["latencies"] if content["network"] == self.network else [])
        except (ArtifactError, KeyError):
            return iter([])

    def keep(self, runtime: str, device: str, milliseconds: float) -> None:
        """Keep the median of LATENCY_RUNS passes of one image."""
        new = {
            "runtime": runtime,
            "device": device,
            "runs": LATENCY_RUNS,
            "milliseconds": round(milliseconds, 3),
        }
        others = [each for each in self if (each["runtime"], each["device"]) != (runtime, device)]
        content = {"network": self.network, "latencies": [*others, new]}
        text = json.dumps(add_checksum(content), indent=1, ensure_ascii=False)
        write_atomically(self.folder / LATENCY, text + "\n")


def collect_footprint(
    folder: Path, config: PipelineConfig, retrain: Artifact, target: ImageDataset, unit: str
) -> dict[str, Any]:
    """Return the sizes and latencies for results.json; measure a latency that is not known yet.

    The network runs on a GPU if the stages did, by their `unit` of cost, and there is one.
    """
    genotype, shape = retrained_network(config.retrain, retrain)
    shape = shape.model_copy(update={"auxiliary_weight": 0.0})
    build = partial(build_network, genotype, shape, target.num_classes)
    device = resolve_device("auto" if unit == "GPU-hours" else "cpu")
    kept, runtime = Latencies(folder, retrain.fingerprint), f"torch {torch.__version__}"
    if (runtime, device_name(device)) not in {(k["runtime"], k["device"]) for k in kept}:
        with seeded(0, "latency-weights"):
            network = build()
        milliseconds = measure_latency(network, target.image_size, device)
        kept.keep(runtime, device_name(device), milliseconds)
    return vars(measure_footprint(build, target.image_size)) | {"latencies": list(kept)}


def footprint_columns(network: Mapping[str, Any], target: ImageDataset) -> dict[str, list[str]]:
    """Return the table for results.json's network: property, value, how it was measured."""
    side, found = f"{target.image_size}×{target.image_size}", network["footprint"]
    rows = [
        ("parameters", f"{network['parameters']:,}", "auxiliary head not counted"),
        ("multiply-adds", f"{network['multiply_adds']:,}", f"convolutions, classifier; {side}"),
        (
            "all multiply-adds",
            f"{network['all_multiply_adds']:,}",
            f"with normalisation and activations; {side}",
        ),
        ("weights, float32", _megabytes(found["float32_bytes"]), "safetensors file"),
        ("weights, float16", _megabytes(found["float16_bytes"]), "safetensors file"),
        (
            "peak activations",
            _megabytes(found["peak_activation_bytes"]),
            "one image, float32, tensors alive at once",
        ),
        *(
            (
                f"latency, {each['runtime']}",
                f"{each['milliseconds']:.3g} ms",
                f"one image, median of {each['runs']}, {each['device']}",
            )
            for each in found["latencies"]
        ),
    ]
    if not any(each["runtime"].startswith("onnxruntime") for each in found["latencies"]):
        rows.append(("latency, onnxruntime", "–", "measured by `export RUN --as onnx`"))
    titles = ("property", "value", "measured")
    return {title: [row[n] for row in rows] for n, title in enumerate(titles)}


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.3g} MB"
