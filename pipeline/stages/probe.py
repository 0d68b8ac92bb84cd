"""Probe: classifiers trained on the subset alone, to measure the quality of the subset.

As in the paper's Figure 5a, it is the test error of a classifier trained with image mixing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from classification.acceleration import check_acceleration
from classification.config import SUPERNET, ClassifierConfig
from classification.data.config import AugmentationSettings
from classification.errors import ConfigError
from classification.models import smallest_classifier_input
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import read_metrics
from classification.settings import ADDED_LATER
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage, StageSettings
from pipeline.stages.subset import SUBSET, num_kept

if TYPE_CHECKING:
    import torch

    from classification.data.datasets import ImageDataset

SUMMARY = "probe.json"


class ProbeSettings(StageSettings):
    """The classifier's training, how often it is trained, and the augmentation."""

    probe: ClassifierConfig
    number: int = Field(1, json_schema_extra=ADDED_LATER)
    augmentation: AugmentationSettings
    seed: int


def run(context: Context[ProbeSettings]) -> None:
    """Data, subset → probe.json, confusion.json, metrics.jsonl."""
    from evaluate.confusion import CONFUSION, save_confusions  # slow to import
    from evaluate.probes import discard_probes, train_probes
    from evaluate.retrain import summarise_accuracy
    from subsample.selection import Subset

    settings, data = context.settings, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    metrics, counts = train_probes(
        settings.number,
        data.with_train(subset.indices),
        settings.probe,
        seed=settings.seed,
        device=context.device,
        workspace=context.workspace,
    )
    save_confusions(counts, context.workspace.path(CONFUSION))
    accuracy = summarise_accuracy(read_metrics(context.workspace.directory))
    if settings.number > 1:
        accuracy["top1_errors_last"] = [
            summarise_accuracy(rows)["top1_error_last"] for rows in metrics
        ]
    summary = {"images": len(subset.indices), "accuracy": accuracy}
    write_atomically(context.workspace.path(SUMMARY), json.dumps(summary, indent=1) + "\n")
    discard_probes(context.workspace)


def settings(config: PipelineConfig) -> ProbeSettings:
    """Return the settings of the stage."""
    return ProbeSettings(
        probe=config.probed,
        number=config.probes,
        augmentation=config.data.augmentation,
        seed=config.seed,
    )


def check(
    config: PipelineConfig, datasets: Mapping[str, ImageDataset], device: torch.device
) -> None:
    """Reject a probe that cannot be trained on the subset."""
    data = datasets["data"]
    probe = config.probed
    if config.probe is None and (probe.weights is not None or probe.model == SUPERNET):
        found = "is loaded" if probe.weights is not None else "is a supernet"
        raise ConfigError(
            f"probe: missing, and the scorer {found}, so it cannot be used as the probe; allowed: "
            "e.g. {model: resnet9, epochs: 15, schedule: one_cycle}"
        )
    if probe.weights is not None:
        raise ConfigError(
            f"probe.weights: found {str(probe.weights)!r}, but the probe is trained; allowed: none"
        )
    if probe.model == SUPERNET:
        raise ConfigError("probe.model: found 'supernet'; allowed: a classifier")
    for key in ("record_losses", "record_dynamics"):
        if getattr(probe, key):
            raise ConfigError(f"probe.{key}: found true, which has no use; allowed: false")
    check_acceleration("probe", probe.precision, probe.cuda_graph, device)
    probe.mixing.check()
    smallest = smallest_classifier_input(probe.model)
    if data.image_size < smallest:
        raise ConfigError(
            f"data.image_size: {data.image_size} is too small for probe.model {probe.model}; "
            f"allowed: at least {smallest}"
        )
    kept = num_kept(config, data)
    if kept < probe.batch_size:
        whose = "" if config.probe else " (scorer.batch_size, because probe is not set)"
        raise ConfigError(
            f"probe.batch_size: {probe.batch_size}{whose} exceeds the {kept} images that the "
            "subset keeps; allowed: at most this number"
        )


STAGE = Stage(
    "probe",
    2,
    lambda config: ("data", "subset"),
    settings,
    check,
    run,
    goal="subset",
    parallel=True,
    section=lambda config: "scorer" if config.probe is None else "probe",
)
