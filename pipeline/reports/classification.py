"""Report of a run that trained a classifier: its errors and its cost."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, ImageDataset
from classification.errors import ArtifactError, ConfigError
from classification.models import build_classifier
from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from classification.settings import effective_settings
from evaluate.complexity import measure_complexity
from evaluate.figures.training import learning_curves
from evaluate.published.error_rates import published_row, published_tables
from evaluate.published.rows import PublishedError, PublishedTable, Setting, published_dataset
from evaluate.retrain import summarise_accuracy
from pipeline.config import PipelineConfig
from pipeline.reports.classes import collect_classes, show_classes
from pipeline.reports.page import (
    best_label,
    cost_row,
    describe_dataset,
    describe_start_up,
    describe_whole_run,
    fill,
    head_rows,
    start_up_rows,
    write_page,
)
from pipeline.reports.picture import Picture
from pipeline.reports.results import hours_of, wall_hours_of
from pipeline.reports.robustness_sections import collect_sections, show_sections
from pipeline.reports.run_page import write_run_page
from pipeline.reports.training_time import TrainingTime, devices_of, training_time, twin_commands
from pipeline.run_folder import RunFolder
from pipeline.stages.scorer import WEIGHTS
from pipeline.store.checksum import verify_checksum
from pipeline.store.ledger import Cost, last_making, software_of
from pipeline.store.store import Artifact, Store

_SECONDS_DIGITS = 4


def write_classification_report(
    folder: RunFolder,
    config: PipelineConfig,
    data: ImageDataset,
    artifacts: Mapping[str, Artifact],
    store: Store,
) -> dict[str, Any]:
    """Write report.md with PNG figures, report.html and results.json into the run's report; return
    the results.
    """
    scorer = artifacts["scorer"]
    time = training_time(config, data.content_hash, store)
    results = collect_classification(config, data, scorer, store, time)
    results |= (
        describe_whole_run(artifacts, store)
        | collect_sections(artifacts, store)
        | describe_start_up(folder)
    )
    results["classes"] = collect_classes(scorer, data, config.scorer)
    curves = learning_curves(read_metrics(scorer.path), _title(results), evaluated=data.evaluated)
    attempts = store.ledger.attempts([scorer.fingerprint])
    on_cpu = any(attempt.device_kind == "cpu" for attempt in attempts)
    values = {
        "results": results,
        "data": describe_dataset(data),
        "epochs": config.scorer.trained_epochs,
        "augmentation": describe_augmentation(config.data, data),
        "optimizer": describe_optimizer(config.scorer),
        "best_label": best_label(results),
        "head": head_rows(results),
        "cost": cost_row("scorer", attempts, config.name),
        "start_up": start_up_rows(folder),
        "time_line": _time_line(time),
        "commands": twin_commands(folder, config, store, on_cpu) if time.unmeasured else [],
        "pictures": {
            "training": [
                Picture.save(folder.report, "training", curves, "Loss and accuracy over the epochs")
            ]
        },
        "weights": str(scorer.path / WEIGHTS),
        "classes": show_classes(folder.report, scorer, results["classes"]),
        "robustness_sections": show_sections(folder.report, config, artifacts, store, results),
        "tables": _tables(results, Setting.of(config.scorer)),
    }
    write_page(folder.report, "classification.md.j2", values, results)
    made = {"scorer": scorer}
    write_run_page(folder, "classifier.html.j2", values, config, data, made, results)
    return results


def collect_classification(
    config: PipelineConfig,
    data: ImageDataset,
    scorer: Artifact,
    store: Store,
    time: TrainingTime,
) -> dict[str, Any]:
    """Collect the results of a trained classifier; `scorer` is its artifact."""
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
            "augmentation": effective_settings(config.data.augmentation),
            "published_as": published_as,
        },
        "scorer": effective_settings(config.scorer),
        "mixing": setting.mixing.describe(),
        "regularisers": setting.regularisers,
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "all_multiply_adds": size.all_multiply_adds,
        "accuracy": summarise_accuracy(read_metrics(scorer.path)),
        "cost": {
            "unit": cost.unit,
            "scorer": hours_of(cost),
            "wall_hours": wall_hours_of({"scorer": cost}),
            "attempts": len(attempts),
        },
        "training_time": {
            "seconds_per_epoch": _rounded(time.seconds_per_epoch),
            "relative_to_vanilla": _rounded(time.relative_to_vanilla),
            "basis": time.basis,
        },
        "published": _published(config.scorer.model, published_as, setting),
    }


def read_classification(path: Path) -> dict[str, Any]:
    """Read the results.json of a run that trained a classifier, with a valid scorer config.

    Raises ArtifactError if the run is unfinished, ConfigError if it has another goal.
    """
    if not path.exists():
        raise ArtifactError(f"{path}: not found; the run has no report yet")
    results = verify_checksum(read_object(path), path)
    if results.get("goal") != "classifier":
        raise ConfigError(
            f"RUN: the goal of {results.get('name', path)} is not a classifier; allowed: runs "
            "with `goal: classifier`"
        )
    try:
        ClassifierConfig.model_validate(results["scorer"])
    except (KeyError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{path}: not readable by this version ({reason})") from error
    return results


def describe_augmentation(config: DataConfig, data: ImageDataset) -> str:
    """Describe the augmentation of training images before mixing."""
    if config.in_files:
        parts = ["random resized crop", "mirroring", "colour jitter"]
    else:
        padding = data.crop_padding
        parts = [f"random crop, padding {padding}"] if padding else []
        parts += ["mirroring"] if data.flip else []
    parts += [f"lighting {data.lighting:g}"] if data.lighting else []
    return ", ".join(parts) or "none"


def describe_optimizer(scorer: ClassifierConfig) -> str:
    """Describe the optimizer and its learning-rate schedule."""
    return (
        f"SGD, learning rate {scorer.learning_rate:g} {_course(scorer)}, momentum "
        f"{scorer.momentum:g}{' (Nesterov)' if scorer.momentum else ''}, weight decay "
        f"{scorer.weight_decay:g}"
    )


def _course(scorer: ClassifierConfig) -> str:
    if scorer.schedule == "one_cycle":
        return "at the peak of one cycle"
    if scorer.schedule == "cosine":
        return "with cosine decay"
    epochs = [round(share * scorer.epochs) for share in scorer.milestones]
    reached = [str(epoch) for epoch in epochs if epoch < scorer.epochs]
    return f"divided by ten after epoch {' and '.join(reached)}" if reached else "(constant)"


def _title(results: Mapping[str, Any]) -> str:
    return f"{results['scorer']['model']} on {results['data']['name']}: {results['mixing']}"


def _time_line(time: TrainingTime) -> str:
    ratio = time.relative_to_vanilla
    known = "unknown" if ratio is None else f"**{ratio:.2f}**"
    return f"Training time relative to vanilla: {known}"


def _tables(results: Mapping[str, Any], setting: Setting) -> list[dict[str, Any]]:
    """Return the paper's tables for this model and data, each with this run as its last row."""
    accuracy = results["accuracy"]
    own = PublishedError(
        f"**this run: {setting.describe()}**",
        accuracy["top1_error_last"],
        top5_error=accuracy["top5_error_last"],
        training_time=results["training_time"]["relative_to_vanilla"],
    )
    epochs = results["scorer"]["epochs"]
    tables = published_tables(results["scorer"]["model"], results["data"]["published_as"])
    return [_table(table, own, setting, epochs) for table in tables]


def _table(
    table: PublishedTable, own: PublishedError, setting: Setting, epochs: int
) -> dict[str, Any]:
    columns = {"top-1 err (%)": "top1_error", "top-5 err (%)": "top5_error"}
    columns["training time"] = "training_time"
    shown = {
        title: field
        for title, field in columns.items()
        if any(getattr(row, field) is not None for row in table.rows)
    }
    same = table.row_of(setting)
    published = [
        replace(
            row,
            method=f"{row.method} (published{', this setting' if row is same else ''})",
        )
        for row in table.rows
    ]
    size = f", {table.parameters_millions} M parameters" if table.parameters_millions else ""
    shorter = "" if epochs == table.epochs else f" This run trained for {epochs}."
    sentences = [
        f"The paper's {table.name}: {table.network} on {table.dataset}{size}.",
        "All rows except the last are **published figures**, not measured here, after "
        f"{table.epochs} epochs.{shorter}",
        table.note,
        "The paper does not state whether its own rows are of the best or the last epoch; this "
        "run's row is of the last epoch.",
    ]
    return {
        "text": fill(*sentences),
        "columns": ["method", *shown],
        "rows": [
            [row.method, *(_cell(getattr(row, field)) for field in shown.values())]
            for row in [*published, own]
        ],
    }


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


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
