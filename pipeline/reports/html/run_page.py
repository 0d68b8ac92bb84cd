"""A run's page: what its report.md says, and what a page can show beside."""

from collections.abc import Mapping
from typing import Any

from classification.data.datasets import ImageDataset
from classification.persistence.workspace import read_metrics
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.reports.html.cell_picture import cell_pictures
from pipeline.reports.html.cost_charts import break_even_chart, stage_bars
from pipeline.reports.html.curves import alpha_charts, beta_charts, training_charts
from pipeline.reports.html.gallery import gallery
from pipeline.reports.html.page import PAGE, write_html
from pipeline.reports.html.provenance import provenance
from pipeline.run_folder import RunFolder
from pipeline.store.store import Artifact

_TRAINED = {
    "scorer": "Scorer",
    "search": "Search: the supernet",
    "retrain": "Retraining the found network",
    "probe": "Probe: a classifier on the subset alone",
}


def write_run_page(
    folder: RunFolder,
    template: str,
    values: Mapping[str, Any],
    config: PipelineConfig,
    data: ImageDataset,
    artifacts: Mapping[str, Artifact],
    results: dict[str, Any],
) -> None:
    """Write report.html: `template` with the `values` of report.md and the figures of the page.

    All of it comes from `artifacts`, so it can be written again at any time.
    """
    rows = {name: read_metrics(artifacts[name].path) for name in _TRAINED if name in artifacts}
    curves = [
        (_TRAINED[name], training_charts(each, _TRAINED[name])) for name, each in rows.items()
    ]
    search = rows.get("search", [])
    genotype = results.get("genotype")
    cost = results["cost"]
    if "stages" not in cost:
        cost = cost | {"stages": {"scorer": cost["scorer"]}}
    page = {
        "results": results,
        "curves": [(title, charts) for title, charts in curves if charts],
        "alphas": alpha_charts(search),
        "betas": [(cell, beta_charts(search, cell)) for cell in ("normal", "reduce") if search],
        "cells": cell_pictures(Genotype.from_dict(genotype)) if genotype else [],
        "gallery": gallery(config, data, artifacts),
        "stage_bars": stage_bars(cost),
        "break_even": break_even_chart(cost),
        "files": [(row["what"], row["path"]) for row in values.get("files", [])],
        "provenance": provenance(folder, config, results),
    }
    write_html(folder.report / PAGE, template, {**values, "page": page})
