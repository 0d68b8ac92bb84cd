"""Report of a run with a search: report.md, report.html, figures and results.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classification.data.datasets import ImageDataset
from classification.durations import format_cost, three_figures
from classification.persistence.workspace import read_metrics
from evaluate.complexity import Complexity, complexity_warning
from evaluate.figures.training import edge_trajectories, operation_trajectories
from evaluate.published.tables import TABLE_6
from pcdarts.drawing import cells_in_words, describe_genotype, draw_genotype
from pcdarts.genotype import Genotype
from pcdarts.operations import OPERATIONS
from pipeline.config import PipelineConfig
from pipeline.reports.classes import collect_classes, show_classes
from pipeline.reports.contest_section import collect_contest, show_contest, verdict
from pipeline.reports.curves import draw_curves, explain_losses
from pipeline.reports.footprint import collect_footprint, footprint_columns
from pipeline.reports.gallery import draw_subset, gallery_note, mixes_note
from pipeline.reports.page import (
    best_label,
    describe_dataset,
    describe_start_up,
    describe_whole_run,
    head_rows,
    show_cost,
    show_whole_run,
    stage_cost_row,
    start_up_rows,
    write_page,
)
from pipeline.reports.picture import Picture, draw_costs
from pipeline.reports.pruning import collect_pruning, show_pruning
from pipeline.reports.results import (
    MADE_ELSEWHERE,
    SELECTION,
    class_sizes,
    collect_results,
    describe_class_sizes,
)
from pipeline.reports.robustness_sections import collect_sections, goal_artifacts, show_sections
from pipeline.reports.run_page import write_run_page
from pipeline.reports.scorer_comparison import collect_scorer, compare_with_scorer
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import RunFolder
from pipeline.stages import search
from pipeline.stages.width import width_line
from pipeline.store.store import Artifact, Store

IMAGENET_CLASSES = 1000  # of a target for which the paper's Table 6 is shown


def write_report(
    run: RunFolder,
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    artifacts: Mapping[str, Artifact],
    store: Store,
    full_search: str,
    published: bool = False,
) -> dict[str, Any]:
    """Write report.md with PNG figures, report.html and results.json into the run's report; return
    the results.
    """
    folder = run.report
    folder.mkdir(parents=True, exist_ok=True)
    data, made = datasets["data"], artifacts
    artifacts = goal_artifacts(config, made)
    results = collect_results(config, artifacts, store, full_search, len(data.train))
    results |= (
        describe_whole_run(made, store) | collect_sections(made, store) | describe_start_up(run)
    )
    if "contest" in artifacts:
        contest = collect_contest(artifacts["contest"], store, config.seed)
        results["contest"] = contest | {"verdict": verdict(contest, results["cost"])}
    if config.search.pruning is not None:
        searches = {name: artifacts[name] for name in search.searches_of(config)}
        results["pruning"] = collect_pruning(searches, config.search.pruning, store)
    results["classes"] = collect_classes(artifacts["retrain"], datasets["target"], config.retrain)
    results["scorer"] = collect_scorer(config, datasets, artifacts, results["cost"])
    results["network"]["footprint"] = collect_footprint(
        folder, config, artifacts["retrain"], datasets["target"], results["cost"]["unit"]
    )
    results["subset"]["class_histogram"] = class_sizes(data, artifacts)
    summary = _summary(config, datasets, artifacts, store, results)
    summary["published"] = table_6(datasets["target"], published)
    summary["pictures"] = {
        "cost": draw_costs(folder, results["cost"]),
        "cells": [draw_cells(folder, Genotype.from_dict(results["genotype"]))],
        "search": _draw_search(folder, artifacts["search"]),
        "training": draw_curves(folder, config, artifacts, datasets),
        "images": draw_subset(folder, config, data, artifacts),
    }
    summary["start_up"] = start_up_rows(run)
    summary["commands"] = export_commands(run, artifacts)
    summary["scorer"] = compare_with_scorer(results)
    summary["classes"] = show_classes(folder, artifacts["retrain"], results["classes"])
    summary["robustness_sections"] = show_sections(folder, config, made, store, results)
    summary["pruning"] = show_pruning(results)
    summary["contest"] = _show_contest(folder, results, datasets["target"].evaluated)
    write_page(folder, "report.md.j2", summary, results)
    write_run_page(run, "network.html.j2", summary, config, data, artifacts, results)
    return results


def _summary(
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    artifacts: Mapping[str, Artifact],
    store: Store,
    results: dict[str, Any],
) -> dict[str, Any]:
    """Return the values of the template."""
    network, cost = results["network"], results["cost"]
    return {
        **{key: results[key] for key in ("name", "accuracy", "device", "software", "seed")},
        "num_train": len(datasets["data"].train),
        "data": describe_dataset(datasets["data"]),
        "target": describe_dataset(datasets["target"]),
        "subset": results["subset"] | {"series": _series(config)},
        "class_sizes": describe_class_sizes(results["subset"]["class_histogram"]),
        "reliability": results["subset"]["reliability"],
        "draws": config.scores.draws,
        "gallery_note": gallery_note(datasets["data"].classes),
        "mixes_note": mixes_note(config),
        "network": show_network(network, config, datasets["target"]) | _origin(results),
        "best_label": best_label(results),
        "head": head_rows(results),
        "unit": cost["unit"],
        "cost_rows": [stage_cost_row(name, a, store, config) for name, a in artifacts.items()],
        "costs": _cost_lines(config, cost, artifacts) | _whole_run(results),
        "losses": explain_losses(config, artifacts, datasets["target"].evaluated),
        "edges": cells_in_words(Genotype.from_dict(results["genotype"])),
        "warnings": _warnings(config, datasets, artifacts, results),
    }


def table_6(target: ImageDataset, asked: bool) -> Sequence[Any]:
    """Return the rows of the paper's Table 6 if they are asked for, or the target is ImageNet."""
    return TABLE_6 if asked or target.num_classes == IMAGENET_CLASSES else []


def _origin(results: dict[str, Any]) -> dict[str, str]:
    """Return how the network was found, as part of a sentence, and the name of its method."""
    contest = results.get("contest")
    if contest is None:
        return {"origin": "found by PC-DARTS", "method": "PC-DARTS"}
    found = contest["winner_kind"] in ("found", "earlier epoch")
    # Without the channels, which a budget adds to the name and the sentence has already.
    won = next(each for each in contest["contestants"] if each["name"] == contest["winner"])
    name = won.get("architecture", won["name"])
    method = "PC-DARTS" if found else f"{name}, not found by PC-DARTS"
    origin = f"of {name}, which won a contest with those found by PC-DARTS"
    return {"origin": origin, "method": method}


def _show_contest(folder: Path, results: dict[str, Any], evaluated: str) -> dict[str, Any] | None:
    """Return the section of the contest and its verdict, or None without a contest."""
    if "contest" not in results:
        return None
    contest = results["contest"]
    return {
        "section": show_contest(folder, contest, evaluated),
        "verdict": contest["verdict"],
    }


def show_network(
    network: Mapping[str, Any], config: PipelineConfig, target: ImageDataset
) -> dict[str, Any]:
    """Return results.json's network with its line, its table of sizes and latencies, and the line
    of its width under a budget.
    """
    width = network.get("width")
    return {
        **network,
        "line": f"A {config.retrain.cells}-cell, {network['channels']}-channel network",
        "columns": footprint_columns(network, target),
        "width_line": None if width is None else width_line(width).removeprefix("width: "),
    }


def export_commands(run: RunFolder, artifacts: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    """List the commands that write a run's results for other tools: (what, command)."""
    exports = {
        "subset": ("subset", "the images searched on", "subset"),
        "genotype": ("retrain", "the genotype", "genotype"),
        "timm": ("retrain", "the trained network, for timm", "timm"),
        "onnx": ("retrain", "the trained network, as ONNX", "network.onnx"),
    }
    name = run.path.name
    rows = [
        (what, run.command_on("export", "--as", form, "-o", f"{name}-{output}"))
        for form, (stage, what, output) in exports.items()
        if stage in artifacts
    ]
    return [*rows, ("its predictions", run.command_on("predict", "IMAGE"))]


def _cost_lines(
    config: PipelineConfig, cost: dict[str, Any], artifacts: Mapping[str, Artifact]
) -> dict[str, Any]:
    unit, stages = cost["unit"], [s for s in SELECTION if s in artifacts]
    alone, total = (show_cost(cost[key], unit) for key in ("search_alone", "total"))
    one = cost["searches"] == 1
    searches = "search" if one else f"{cost['searches']} searches"
    names = " + ".join([*stages, searches])
    unknown = f"; not included: {MADE_ELSEWHERE}" if config.subset.made_elsewhere else ""
    return {
        "search_alone": alone,
        "search_stages": f"{searches} alone"
        + (", with its warm-up" if "scorer" in search.stages_of_search(config) else ""),
        "total": total,
        "total_line": f"With the stages before it ({names}): **{total}**{unknown}.",
        "total_stages": names,
        "alone_note": "as reported in the paper" if one else "the paper reports one search",
        "contest": None if cost["contest"] is None else show_cost(cost["contest"], unit),
        # The column of the published rows is in GPU-days.
        "days": three_figures(cost["search_alone"] / 24) if unit == "GPU-hours" else alone,
        "break_even": _break_even(cost),
    }


def _whole_run(results: dict[str, Any]) -> dict[str, str]:
    cost, wall = show_whole_run(results)
    return {"whole_run": cost, "whole_wall": wall}


def _break_even(cost: dict[str, Any]) -> str:
    searches, basis = cost["break_even_searches"], cost["break_even_basis"]
    if searches is None:
        reason = basis if "full_search" not in cost else "the subset saves no search time"
        return f"Break-even: none ({reason})."
    one = cost["one_search"]
    crossing = (cost["total"] - cost["search_alone"]) / (cost["full_search"] - one)
    return (
        f"Break-even: **{searches} {'search' if searches == 1 else 'searches'}** (the costs are "
        f"equal at {three_figures(crossing)}, rounded up), compared with "
        f"{format_cost(cost['full_search'], cost['unit'])} for a full-data search ({basis})."
    )


def draw_cells(folder: Path, genotype: Genotype) -> Picture:
    """Draw the two cells."""
    return Picture.save(
        folder, "cells", draw_genotype(genotype), "The two cells", describe_genotype(genotype)
    )


def _draw_search(folder: Path, artifact: Artifact) -> list[Picture]:
    rows = read_metrics(artifact.path)
    operations, edges = operation_trajectories(rows, OPERATIONS), edge_trajectories(rows)
    return [
        Picture.save(folder, "architecture", operations, "Operations over the search"),
        Picture.save(folder, "edges", edges, "Edges over the search"),
    ]


def _warnings(
    config: PipelineConfig,
    datasets: Mapping[str, ImageDataset],
    artifacts: Mapping[str, Artifact],
    results: dict[str, Any],
) -> list[str]:
    network = results["network"]
    reliability = results["subset"]["reliability"] or {}
    rows = read_metrics(artifacts["search"].path)
    found = [
        reliability.get("warning"),
        *rows[-1]["warnings"],
        complexity_warning(Complexity(network["parameters"], 0, network["multiply_adds"])),
    ]
    return [warning for warning in found if warning]


def _series(config: PipelineConfig) -> str:
    return name_subset(config.subset.measure, config.subset.order)
