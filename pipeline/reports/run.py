"""Selection of the report for a run's goal."""

from collections.abc import Mapping
from typing import Any

from classification.data.datasets import ImageDataset
from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.graph import fingerprints
from pipeline.reports.classification import write_classification_report
from pipeline.reports.network import write_report
from pipeline.reports.page import PAGE
from pipeline.reports.subset import write_subset_report
from pipeline.run_folder import REPORT, RunFolder
from pipeline.stages import STAGES
from pipeline.stages.ranking import RANKING
from pipeline.store.store import Artifact, Store
from subsample.config import SubsetConfig


def write_run_report(
    folder: RunFolder,
    config: PipelineConfig,
    datasets: dict[str, ImageDataset],
    artifacts: dict[str, Artifact],
    store: Store,
    console: Console,
) -> Mapping[str, Any] | None:
    """Write the report under `folder` and log its error and cost. Return results.json's content,
    or None for a ranking, which has no report."""
    if config.goal == "ranking":  # a single ranking has nothing to compare
        console.log(f"ranking     {artifacts['ranking'].path / RANKING}")
        console.log("            compare it with: python run_pipeline.py fidelity CONFIG")
        return None
    if config.goal == "classifier":
        results = write_classification_report(folder, config, datasets["data"], artifacts, store)
        costs = [f"cost        {results['cost']['scorer']} {results['cost']['unit']}"]
    elif config.goal == "subset":
        results = write_subset_report(folder, config, datasets["data"], artifacts, store)
        cost = results["cost"]
        costs = [
            f"cost        {cost['selection']} {cost['unit']} for the subset",
            f"            {cost['total']} {cost['unit']} including the probe",
        ]
    else:
        full_search = full_search_fingerprint(config, datasets["data"].content_hash)
        results = write_report(folder, config, datasets, artifacts, store, full_search)
        cost = results["cost"]
        costs = [
            f"cost        {cost['search_alone']} {cost['unit']} for the search alone",
            f"            {cost['total']} {cost['unit']} including all earlier stages",
        ]
    console.log("")
    console.log(f"top-1 error {results['accuracy']['top1_error_last']:.2f} % (last epoch)")
    for line in costs:
        console.log(line)
    console.log(f"report      {folder.report / REPORT}")
    console.log(f"            {folder.report / PAGE}")
    return results


def full_search_fingerprint(config: PipelineConfig, content_hash: str) -> str:
    """Return the fingerprint of the same search on all images."""
    full = config.goal_alone.model_copy(
        update={"subset": SubsetConfig(measure="full", fraction=1.0)}
    )
    return fingerprints(STAGES, full, {"data": content_hash, "target": content_hash})["search"]
