"""Report of a run that retrains a given genotype: report.md, report.html, results.json."""

from collections.abc import Mapping
from typing import Any

from classification.data.datasets import ImageDataset
from classification.persistence.untrusted_files import read_object
from evaluate.complexity import Complexity, complexity_warning
from pcdarts.drawing import cells_in_words
from pcdarts.genotype import Genotype
from pcdarts.published_genotypes import PAPERS
from pipeline.config import PipelineConfig
from pipeline.reports.classes import collect_classes, show_classes
from pipeline.reports.curves import draw_curves, explain_losses
from pipeline.reports.footprint import collect_footprint
from pipeline.reports.network import (
    draw_cells,
    export_commands,
    show_network,
    table_6,
)
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
from pipeline.reports.results import describe_network, hours_of
from pipeline.reports.robustness_sections import collect_sections, goal_artifacts, show_sections
from pipeline.reports.run_page import write_run_page
from pipeline.run_folder import RunFolder
from pipeline.stages.retrain import SUMMARY
from pipeline.stages.search import GENOTYPE
from pipeline.store.ledger import Cost, software_of
from pipeline.store.store import Artifact, Store


def write_given_network_report(
    run: RunFolder,
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    made: Mapping[str, Artifact],
    store: Store,
    published: bool = False,
) -> dict[str, Any]:
    """Write the files into the run's report; return the results."""
    folder, target = run.report, datasets["target"]
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = goal_artifacts(config, made)
    results = _collect(config, artifacts, store)
    results |= (
        describe_whole_run(made, store) | collect_sections(made, store) | describe_start_up(run)
    )
    results["classes"] = collect_classes(artifacts["retrain"], target, config.retrain)
    results["network"]["footprint"] = collect_footprint(
        folder, config, artifacts["retrain"], target, results["cost"]["unit"]
    )
    genotype, network = Genotype.from_dict(results["genotype"]), results["network"]
    size = Complexity(network["parameters"], 0, network["multiply_adds"])
    unit = results["cost"]["unit"]
    summary = {
        **{key: results[key] for key in ("name", "accuracy", "device", "software", "seed")},
        "origin": results["origin"],
        "target": describe_dataset(target),
        "network": show_network(network, config, target),
        "best_label": best_label(results),
        "head": head_rows(results),
        "cost_rows": [stage_cost_row(name, a, store, config) for name, a in artifacts.items()],
        "cost_line": f"{show_cost(results['cost']['stages']['retrain'], unit)}",
        "published": table_6(target, published),
        "start_up": start_up_rows(run),
        "classes": show_classes(folder, artifacts["retrain"], results["classes"]),
        "losses": explain_losses(config, artifacts, target.evaluated),
        "edges": cells_in_words(genotype),
        "commands": export_commands(run, artifacts),
        "warnings": list(filter(None, [complexity_warning(size)])),
        "pictures": {
            "cells": [draw_cells(folder, genotype)],
            "training": draw_curves(folder, config, artifacts, datasets),
        },
    }
    summary["robustness_sections"] = show_sections(folder, config, made, store, results)
    write_page(folder, "given_network.md.j2", summary, results)
    write_run_page(run, "given_network.html.j2", summary, config, target, artifacts, results)
    return results


def _collect(
    config: PipelineConfig, artifacts: Mapping[str, Artifact], store: Store
) -> dict[str, Any]:
    attempts = store.ledger.attempts([artifact.fingerprint for artifact in artifacts.values()])
    costs = {name: Cost.of(store.ledger.attempts([a.fingerprint])) for name, a in artifacts.items()}
    given = str(config.genotype)
    return {
        "name": config.name,
        "goal": "genotype",
        "device": "; ".join(sorted({attempt.device for attempt in attempts})),
        "software": software_of(attempts),
        "seed": config.seed,
        "origin": f"{given} ({PAPERS[given]})" if given in PAPERS else given,
        "genotype": Genotype.load(artifacts["retrain"].path / GENOTYPE).to_dict(),
        "network": describe_network(artifacts),
        "accuracy": read_object(artifacts["retrain"].path / SUMMARY)["accuracy"],
        "cost": {
            "unit": sum(costs.values(), Cost()).unit,
            "stages": {name: hours_of(cost) for name, cost in costs.items()},
        },
    }
