"""report.html of one run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.data.datasets import ImageDataset
from pipeline.config import PipelineConfig, dump_config
from pipeline.reports.gallery import gallery
from pipeline.reports.page import write_html
from pipeline.run_folder import PAGE, RunFolder
from pipeline.store.store import Artifact


def write_run_page(
    folder: RunFolder,
    template: str,
    values: Mapping[str, Any],
    config: PipelineConfig,
    data: ImageDataset,
    artifacts: Mapping[str, Artifact],
    results: Mapping[str, Any],
) -> None:
    """Write report.html: `template` with the `values` of report.md, images and provenance.

    It depends only on `artifacts`, so it can be written again at any time.
    """
    page = {
        "results": results,
        "gallery": gallery(config, data, artifacts),
        "facts": _provenance(folder, config, results),
        "stages": list(folder.manifest()["stages"].items()),
        "config": dump_config(config),
    }
    write_html(folder.report / PAGE, template, {**values, "page": page})


def _provenance(
    folder: RunFolder, config: PipelineConfig, results: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return the facts that reproduce the run, in addition to its config."""
    manifest = folder.manifest()
    return [
        (
            "command",
            folder.resume_command(Path(manifest.get("artifacts", "artifacts")), config.name),
        ),
        ("seed", str(config.seed)),
        ("device of the artifacts", results["device"]),
        ("device of the last command", str(manifest.get("device", "not recorded"))),
        ("software", results["software"]),
        ("artifacts", str(manifest.get("artifacts", "not recorded"))),
    ]
