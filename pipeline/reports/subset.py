"""Report of a run that trained a classifier on its subset alone (`goal: subset`)."""

from collections.abc import Mapping
from typing import Any

from classification.data.datasets import ImageDataset
from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from classification.settings import effective_settings
from evaluate.figures.training import learning_curves
from evaluate.published.rows import Setting
from pipeline.config import PipelineConfig
from pipeline.reports.classes import collect_classes, show_classes
from pipeline.reports.classification import describe_augmentation, describe_optimizer
from pipeline.reports.gallery import draw_subset, gallery_note, mixes_note
from pipeline.reports.page import (
    best_label,
    describe_dataset,
    describe_start_up,
    describe_whole_run,
    head_rows,
    show_cost,
    stage_cost_row,
    start_up_rows,
    write_page,
)
from pipeline.reports.picture import Picture, draw_costs
from pipeline.reports.results import (
    MADE_ELSEWHERE,
    SELECTION,
    class_sizes,
    describe_class_sizes,
    describe_subset,
    hours_of,
    selection_cost,
    wall_hours_of,
)
from pipeline.reports.robustness_sections import collect_sections, goal_artifacts, show_sections
from pipeline.reports.run_page import write_run_page
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import RunFolder
from pipeline.stages.probe import SUMMARY
from pipeline.stages.subset import SUBSET
from pipeline.store.ledger import Cost, software_of
from pipeline.store.store import Artifact, Store


def write_subset_report(
    run: RunFolder,
    config: PipelineConfig,
    data: ImageDataset,
    artifacts: Mapping[str, Artifact],
    store: Store,
) -> dict[str, Any]:
    """Write report.md with PNG figures, report.html and results.json into the run's report; return
    the results.
    """
    from subsample.selection import Subset  # slow to import

    folder = run.report
    made, artifacts = artifacts, goal_artifacts(config, artifacts)
    results = collect_probe(config, artifacts, store) | collect_sections(made, store)
    results |= describe_whole_run(made, store) | describe_start_up(run)
    kept = Subset.load(artifacts["subset"].path / SUBSET).indices
    results["classes"] = collect_classes(artifacts["probe"], data.with_train(kept), config.probed)
    results["subset"]["class_histogram"] = class_sizes(data, artifacts)
    setting, subset = Setting.of(config.probed), results["subset"]
    title = f"{config.probed.model} on {subset['size']} of {len(data.train)} images of {data.name}"
    curves = learning_curves(read_metrics(artifacts["probe"].path), title, evaluated=data.evaluated)
    reliability = subset["reliability"] or {}
    stages = [name for name in SELECTION if name in artifacts]
    values = {
        "results": results,
        "data": describe_dataset(data),
        "num_train": len(data.train),
        "class_sizes": describe_class_sizes(results["subset"]["class_histogram"]),
        "series": name_subset(subset["measure"], subset["order"]),
        "draws": config.scores.draws,
        "epochs": config.probed.trained_epochs,
        "repeats": _repeats(results["accuracy"]),
        "mixing": setting.mixing.describe(),
        "regularisers": setting.regularisers,
        "augmentation": describe_augmentation(config.data, data),
        "optimizer": describe_optimizer(config.probed),
        "best_label": best_label(results),
        "head": head_rows(results),
        "warnings": [reliability["warning"]] if reliability.get("warning") else [],
        "cost_rows": [stage_cost_row(name, a, store, config) for name, a in artifacts.items()],
        "selection_stages": " + ".join(stages),
        "selection": show_cost(results["cost"]["selection"], results["cost"]["unit"])
        + (f" ({MADE_ELSEWHERE})" if "made_elsewhere" in subset else ""),
        "total": show_cost(results["cost"]["total"], results["cost"]["unit"]),
        "pictures": {
            "cost": draw_costs(folder, results["cost"]),
            "training": [
                Picture.save(folder, "training", curves, "Loss and accuracy over the epochs")
            ],
            "images": draw_subset(folder, config, data, artifacts),
        },
        "gallery_note": gallery_note(data.classes),
        "mixes_note": mixes_note(config),
        "start_up": start_up_rows(run),
        "classes": show_classes(folder, artifacts["probe"], results["classes"]),
        "robustness_sections": show_sections(folder, config, made, store, results),
        "indices": str(artifacts["subset"].path / SUBSET),
    }
    write_page(folder, "subset.md.j2", values, results)
    write_run_page(run, "subset.html.j2", values, config, data, artifacts, results)
    return results


def _repeats(accuracy: Mapping[str, Any]) -> str:
    """Return how many probes the error is a mean of, and the error of each."""
    errors = accuracy.get("top1_errors_last", [])
    each = ", ".join(f"{error:.2f}" for error in errors)
    return f", the mean of {len(errors)} probes ({each})" if errors else ""


def collect_probe(
    config: PipelineConfig, artifacts: Mapping[str, Artifact], store: Store
) -> dict[str, Any]:
    """Collect the results of a finished run."""
    costs = {name: Cost.of(store.ledger.attempts([a.fingerprint])) for name, a in artifacts.items()}
    attempts = store.ledger.attempts([a.fingerprint for a in artifacts.values()])
    selection = selection_cost(costs)
    return {
        "goal": config.goal,
        "name": config.name,
        "device": "; ".join(sorted({attempt.device for attempt in attempts})),
        "software": software_of(attempts),
        "seed": config.seed,
        "subset": describe_subset(artifacts),
        "probe": effective_settings(config.probed),
        "accuracy": read_object(artifacts["probe"].path / SUMMARY)["accuracy"],
        "cost": {
            "unit": sum(costs.values(), Cost()).unit,
            "stages": {name: hours_of(cost) for name, cost in costs.items()},
            "wall_hours": wall_hours_of(costs),
            "selection": hours_of(selection),
            "probe": hours_of(costs["probe"]),
            "total": hours_of(selection + costs["probe"]),
        },
    }
