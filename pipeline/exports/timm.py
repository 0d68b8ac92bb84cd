"""Exports a network for timm: weights, and a module that registers it.

The module contains our definitions of the network's parts, so it needs timm and torch, but none of
our packages.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from torch import nn

from classification.models import MODELS
from pcdarts.genotype import Genotype
from pipeline.exports.card import README, write_card
from pipeline.exports.network import CONFIG, WEIGHTS, TrainedNetwork, save_network, trained_network
from pipeline.exports.recorded_run import RecordedRun
from pipeline.exports.standalone import standalone_source
from pipeline.reports.page import fill_template

_IMPORTS = (  # of the template's own code
    "from pathlib import Path",
    "from timm.layers import SelectAdaptivePool2d",
    "from timm.models import build_model_with_cfg, generate_default_cfgs, register_model",
    "from torch import nn",
)


def model_name(run: str) -> str:
    """Return the name of a run's network in timm, and of the exported module."""
    return "nas_" + re.sub(r"\W", "_", run, flags=re.ASCII).lower()


def files_of(run: str) -> tuple[str, ...]:
    """Return the names of the files in the folder."""
    return f"{model_name(run)}.py", WEIGHTS, CONFIG, README


def write_timm(run: RecordedRun, folder: Path) -> None:
    """Write the module, model.safetensors, timm's config.json and README.md, the model card."""
    trained = trained_network(run)
    write_model(run, trained, folder)
    write_card(run, trained, folder, "timm", {"model": model_name(run.config.name)})


def write_model(run: RecordedRun, trained: TrainedNetwork, folder: Path) -> None:
    """Create `folder` with the module, model.safetensors and config.json."""
    name = model_name(run.config.name)
    module = _module(trained, name)
    folder.mkdir()
    save_network(trained, folder)
    (folder / f"{name}.py").write_text(module + "\n", encoding="utf-8")
    text = json.dumps(_hub_config(trained, name), indent=1, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _module(trained: TrainedNetwork, name: str) -> str:
    config, network = trained.config, type(trained.network)
    classes = [network] if config.genotype is None else [network, Genotype]
    described = _pretrained_config(trained)
    source = standalone_source(classes)
    head = trained.network.get_submodule(described["classifier"])
    values = {
        "name": name,
        "config": config,
        "base": network.__name__,
        "arguments": _arguments(config.architecture),
        "imports": sorted({*source.imports, *_IMPORTS}, key=lambda line: (line[0] == "f", line)),
        "body": source.body,
        "weights": WEIGHTS,
        "first_conv": described["first_conv"],
        "classifier": described["classifier"],
        "bias": head.bias is not None,
        "pool": _pool(config.architecture),
        "pretrained_config": described,
    }
    return fill_template("timm_module.py.j2", values)


def _hub_config(trained: TrainedNetwork, name: str) -> dict[str, Any]:
    """Return config.json in the form of timm's `save_for_hf`."""
    described = _pretrained_config(trained)
    labels = described.pop("label_names")
    return {
        "architecture": name,
        "num_classes": described["num_classes"],
        "num_features": trained.network.get_submodule(described["classifier"]).in_features,
        "global_pool": _pool(trained.config.architecture),
        "label_names": labels,
        "pretrained_cfg": described,
    }


def _pool(architecture: str) -> str:
    return "max" if architecture == "resnet9" else "avg"


def _arguments(architecture: str) -> str:
    """Return the arguments of a classifier that precede its number of classes."""
    arguments = MODELS[architecture].arguments if architecture in MODELS else ()
    return "".join(f"{argument!r}, " for argument in arguments)


def crop_share(image_size: int, resize: int) -> float:
    """Return the `crop_pct` for which timm resizes to `resize`: floor(image_size / crop_pct).

    The quotient of a quotient may round to a value just below the integer (side 443: 505.99… for
    506); then the next smaller float is taken.
    """
    share = image_size / resize
    while math.floor(image_size / share) < resize:
        share = math.nextafter(share, 0)
    return share


def _pretrained_config(trained: TrainedNetwork) -> dict[str, Any]:
    """Return timm's description of the images that the network was tested on."""
    config = trained.config
    layers = dict(trained.network.named_modules())
    # The stem comes first; a cell of 6 initial channels has convolutions of 3 channels too.
    first = next(n for n, m in layers.items() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    (last,) = (n for n, m in layers.items() if isinstance(m, nn.Linear))
    return {
        "num_classes": config.num_classes,
        "label_names": list(config.class_names),
        "input_size": [3, config.image_size, config.image_size],
        "interpolation": "bilinear",
        "crop_pct": crop_share(config.image_size, config.resize),
        "mean": list(config.mean),
        "std": list(config.std),
        "first_conv": first,
        "classifier": last,
    }
