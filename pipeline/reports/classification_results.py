"""results.json of a run that trained a classifier: what it reached and what it cost."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from classification.config import ClassifierConfig
from classification.data.datasets import ImageDataset
from classification.errors import ArtifactError, ConfigError
from classification.models import build_classifier
from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from evaluate.complexity import measure_complexity
from evaluate.published.error_rates import published_row
from evaluate.published.rows import Setting, published_dataset
from evaluate.retrain import summarise_accuracy
from pipeline.config import PipelineConfig
from pipeline.reports.page import describe_dataset
from pipeline.reports.results import hours_of
from pipeline.reports.training_time import TrainingTime, devices_of
from pipeline.stages.scorer import training_settings
from pipeline.store.checksum import verify_checksum
from pipeline.store.ledger import Cost, last_making, software_of
from pipeline.store.store import Artifact, Store

_SECONDS_DIGITS = 4


def collect_classification(
    config: PipelineConfig,
    data: ImageDataset,
    scorer: Artifact,
    store: Store,
    time: TrainingTime,
) -> dict[str, Any]:
    """The figures of a trained classifier; `scorer` is its artifact."""
    attempts = store.ledger.attempts([scorer.fingerprint])
    cost, setting = Cost.of(attempts), Setting.of(config.scorer)
    size = measure_complexity(
        lambda: build_classifier(config.scorer.model, data.num_classes), data.image_size
    )
    published_as = published_dataset(data.name, data.num_classes, len(data.train), data.image_size)
    return {
        "goal": config.goal,
        "name": config.name,
        "device": "; ".join(devices_of(last_making(attempts))),
        "software": software_of(last_making(attempts)),
        "seed": config.seed,
        "data": {
            "name": data.name,
            "line": describe_dataset(data)["line"],
            "content_hash": data.content_hash,
            "classes": data.num_classes,
            "image_size": data.image_size,
            "train": len(data.train),
            "test": len(data.test),
            "augmentation": config.data.augmentation_settings(),
            "published_as": published_as,
        },
        "scorer": training_settings(config.scorer),
        "mixing": setting.mixing.describe(),
        "regularisers": setting.regularisers,
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "accuracy": summarise_accuracy(read_metrics(scorer.path)),
        "cost": {"unit": cost.unit, "scorer": hours_of(cost), "attempts": len(attempts)},
        "training_time": {
            "seconds_per_epoch": _rounded(time.seconds_per_epoch),
            "relative_to_vanilla": _rounded(time.relative_to_vanilla),
            "basis": time.basis,
        },
        "published": _published(config.scorer.model, published_as, setting),
    }


def read_classification(path: Path) -> dict[str, Any]:
    """The results.json of a run that trained a classifier; its scorer's config is valid.

    Raises ArtifactError if the run has not got that far, ConfigError if its goal was another.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: not there; the run has no report yet")
    results = verify_checksum(read_object(path), path)
    if results.get("goal") != "classifier":
        raise ConfigError(
            f"RUN: {results.get('name', path)} did not train a classifier alone; allowed: runs "
            "with `goal: classifier`"
        )
    try:
        ClassifierConfig.model_validate(results["scorer"])
    except (KeyError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{path}: not results that this version reads ({reason})") from error
    return results


def _published(model: str, dataset: Any, setting: Setting) -> dict[str, Any] | None:
    found = published_row(model, dataset, setting)
    if found is None:
        return None
    table, row = found
    return {
        "table": table.name,
        "network": table.network,
        "method": row.method,
        "epochs": table.epochs,
        "top1_error": row.top1_error,
        "top5_error": row.top5_error,
        "training_time": row.training_time,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _SECONDS_DIGITS)
