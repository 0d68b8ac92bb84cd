"""Selection of the report for a run's goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import PipelineConfig
from pipeline.console import Console
from pipeline.reports.page import show_cost, show_whole_run
from pipeline.reports.record import full_search_fingerprint, is_current, report_key, write_record
from pipeline.run_folder import PAGE, PARTIAL, REPORT, RESULTS, RunFolder
from pipeline.stages.ranking import RANKING
from pipeline.store.checksum import read_verified
from pipeline.store.store import Artifact, Store

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset


def write_run_report(
    folder: RunFolder,
    config: PipelineConfig,
    datasets: dict[str, ImageDataset],
    artifacts: dict[str, Artifact],
    store: Store,
    console: Console,
    again: bool = False,
    published: bool = False,
) -> Mapping[str, Any] | None:
    """Write the report under `folder` and log its error and cost. Return results.json's content,
    or None for a ranking, which has no report. The report of the unfinished run is removed.

    A report that is current stays as it is, unless it is to be written `again`. If `published`, a
    network's report has the paper's Table 6 whatever the target.
    """
    (folder.report / PARTIAL).unlink(missing_ok=True)
    if config.goal == "ranking":  # a single ranking has nothing to compare
        console.log(f"ranking     {artifacts['ranking'].path / RANKING}")
        console.log("            compare it with: python run_pipeline.py fidelity CONFIG")
        return None
    contents = {name: dataset.content_hash for name, dataset in datasets.items()}
    key = report_key(folder, config, contents, artifacts, store)
    if again or not is_current(folder.report, key):
        _write(folder, config, datasets, artifacts, store, published)
        write_record(folder.report, key, datasets)
    return log_results(folder, config, console)


def log_results(folder: RunFolder, config: PipelineConfig, console: Console) -> Mapping[str, Any]:
    """Log the error, the cost and the place of a report; return results.json's content."""
    results = read_verified(folder.report / RESULTS)
    cost, (whole, wall) = results["cost"], show_whole_run(results)
    total = f"cost        {whole} for the whole run, {wall} of wall time"
    if config.goal == "classifier":
        costs = [total]
    elif config.goal == "subset":
        costs = [
            total,
            f"            {show_cost(cost['selection'], cost['unit'])} for the subset",
            f"            {show_cost(cost['total'], cost['unit'])} including the probe",
        ]
    elif config.genotype is not None:
        spent = show_cost(cost["stages"]["retrain"], cost["unit"])
        costs = [total, f"            {spent} for the retraining; no search ran"]
    else:
        costs = [
            total,
            f"            {show_cost(cost['search_alone'], cost['unit'])} for the search alone",
            f"            {show_cost(cost['total'], cost['unit'])} with the stages before it",
        ]
        if "contest" in results:
            costs.append(f"            {show_cost(cost['contest'], cost['unit'])} for the contest")
            costs.append(f"contest     {results['contest']['verdict']}")
    console.log("")
    console.log(f"top-1 error {results['accuracy']['top1_error_last']:.2f} % (last epoch)")
    for line in costs:
        console.log(line)
    console.log(f"report      {folder.report / REPORT}")
    console.log(f"            {folder.report / PAGE}")
    if config.goal != "subset":  # whose network is a measure of the subset
        console.log(f"predict     {folder.command_on('predict', 'IMAGE')}")
    return results


def _write(
    folder: RunFolder,
    config: PipelineConfig,
    datasets: dict[str, ImageDataset],
    artifacts: dict[str, Artifact],
    store: Store,
    published: bool,
) -> None:
    # Slow to import: the figures.
    from pipeline.reports.classification import write_classification_report
    from pipeline.reports.given_network import write_given_network_report
    from pipeline.reports.network import write_report
    from pipeline.reports.subset import write_subset_report

    data = datasets["data"]
    if config.goal == "classifier":
        write_classification_report(folder, config, data, artifacts, store)
    elif config.goal == "subset":
        write_subset_report(folder, config, data, artifacts, store)
    elif config.genotype is not None:
        write_given_network_report(folder, config, datasets, artifacts, store, published)
    else:
        full_search = full_search_fingerprint(config, data.content_hash)
        write_report(folder, config, datasets, artifacts, store, full_search, published)
