"""Report of an unfinished run: what exists, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from classification.errors import DataError, PipelineError, resume_with
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from pcdarts.drawing import cells_in_words
from pcdarts.genotype import Genotype
from pipeline.config import PipelineConfig
from pipeline.reports.results import describe_subset
from pipeline.reports.subset_names import name_subset
from pipeline.run_folder import PARTIAL, RunFolder
from pipeline.stages.scores import RELIABILITY
from pipeline.stages.search import GENOTYPE
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset


def write_partial_report(
    folder: RunFolder,
    name: str,
    artifacts: Mapping[str, Artifact],
    store: Store,
    missing: list[str],
    pictures: Sequence[str],
) -> str:
    """Write the results of the finished stages into the run's report folder; return the text.

    `pictures` are the lines of the subset's pictures, which the returned text does not have.
    """
    lines = [f"# {name}: unfinished", ""]
    for stage, artifact in artifacts.items():
        cost = Cost.of(store.ledger.attempts([artifact.fingerprint]))
        lines.append(f"- {stage}, {cost}{_result(stage, artifacts)}")
    lines.append(f"- missing: {', '.join(missing)}")
    if "search" in artifacts:
        genotype = Genotype.load(artifacts["search"].path / GENOTYPE)
        for cell, nodes in cells_in_words(genotype).items():
            lines += ["", f"{cell}:", ""]
            lines += [f"- {node}: {operations}" for node, operations in nodes]
    again = resume_with(f"`{folder.resume_command(store.root, name)}`")
    lines += ["", f"The run is not finished; {again}"]
    text = "\n".join(lines) + "\n"
    folder.report.mkdir(parents=True, exist_ok=True)
    shown = "".join(f"\n{line}\n" for line in pictures)
    write_atomically(folder.report / PARTIAL, text + shown)
    return text


def draw_partial(
    folder: RunFolder,
    config: PipelineConfig,
    artifacts: Mapping[str, Artifact],
    load: Callable[[PipelineConfig], Mapping[str, ImageDataset]],
) -> list[str]:
    """Draw the subset's pictures, if it was scored under mixing, into the run's report folder.

    `load` reads the images. Return the lines that show the pictures; if the images are no longer
    those of the run, one that says so.
    """
    if not {"scores", "subset"} <= set(artifacts):
        return []
    from pipeline.reports.gallery import GALLERY, draw_subset  # slow to import: figures

    folder.report.mkdir(parents=True, exist_ok=True)
    try:
        datasets = load(config)
        check_images(datasets, artifacts)
    except PipelineError as error:
        return [f"The images are not shown: {error}"]
    drawn = draw_subset(folder.report, config, datasets["data"], artifacts)
    shown = [(picture.title, picture.file) for picture in drawn]
    return [
        f"![{title}]({file})"
        for title, file in [("Images of highest and lowest CV", f"{GALLERY}.png"), *shown]
    ]


def check_images(datasets: Mapping[str, ImageDataset], artifacts: Mapping[str, Artifact]) -> None:
    """Raise DataError if the images have changed since the stages were made."""
    for stage, artifact in artifacts.items():
        for name, dataset in datasets.items():
            source = artifact.manifest["inputs"].get(name)
            if source is not None and source["content_hash"] != dataset.content_hash:
                raise DataError(
                    f"{name}: the images differ from those of {stage}; allowed: the same images, "
                    "or `run`, which makes it again from these"
                )


def _result(stage: str, artifacts: Mapping[str, Artifact]) -> str:
    """Return a stage's result in a few words."""
    path = artifacts[stage].path
    if stage == "scores":
        record = read_object(path / RELIABILITY)
        return f": reliability of the ranking {_number(record.get('spearman_brown'))}"
    if stage == "subset":
        subset = describe_subset(artifacts)
        return f": {subset['size']} images by {name_subset(subset['measure'], subset['order'])}"
    rows = read_metrics(path)
    if stage in ("scorer", "retrain", "probe") and rows and "test_accuracy" in rows[-1]:
        return f": top-1 error {100 * (1 - rows[-1]['test_accuracy']):.2f} % (last epoch)"
    if stage == "search" and rows:
        return f": {len(rows)} epochs"
    return ""


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "not defined"
