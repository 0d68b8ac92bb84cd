"""Probe: what a subset is worth by itself, told by a classifier that sees nothing else.

The paper's Figure 5a: the test error of a classifier trained with image mixing on the subset.
"""

import json
from collections.abc import Mapping
from typing import Any

from classification.classifier import train_classifier
from classification.persistence.storage import write_atomically
from classification.persistence.workspace import read_metrics
from evaluate.retrain import summarise_accuracy
from pipeline.config import PipelineConfig
from pipeline.graph import Context, Stage
from pipeline.stages.scorer import training_settings
from pipeline.stages.subset import SUBSET
from subsample.selection import Subset

SUMMARY = "probe.json"


def run(context: Context) -> None:
    """Data, subset → probe.json, metrics.jsonl."""
    config, data = context.config, context.datasets["data"]
    subset = Subset.load(context.input("subset", SUBSET))
    subset.check_against(data.content_hash, len(data.train))
    train_classifier(
        data.with_train(subset.indices),
        config.probed,
        seed=config.seed,
        device=context.device,
        workspace=context.workspace,
    )
    rows = read_metrics(context.workspace.directory)
    summary = {"images": len(subset.indices), "accuracy": summarise_accuracy(rows)}
    write_atomically(context.workspace.path(SUMMARY), json.dumps(summary, indent=1) + "\n")


def settings(config: PipelineConfig) -> Mapping[str, Any]:
    """The classifier's training, and how images are augmented."""
    probe = training_settings(config.probed)
    return {"probe": probe, "seed": config.seed, **config.data.augmentation_settings()}


STAGE = Stage(
    "probe", 1, lambda config: ("data", "subset"), settings, run, goal="subset", parallel=True
)
