"""Report of an unfinished run: what exists, and what is missing."""

from collections.abc import Mapping

from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_object
from classification.persistence.workspace import read_metrics
from pcdarts.drawing import cells_in_words
from pcdarts.genotype import Genotype
from pipeline.reports.results import describe_subset
from pipeline.run_folder import PARTIAL, RunFolder
from pipeline.stages.scores import RELIABILITY
from pipeline.stages.search import GENOTYPE
from pipeline.store.ledger import Cost
from pipeline.store.store import Artifact, Store


def write_partial_report(
    folder: RunFolder,
    name: str,
    artifacts: Mapping[str, Artifact],
    store: Store,
    missing: list[str],
) -> str:
    """Write the results of the finished stages into the run's report folder; return the text."""
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
    lines += ["", f"Resume with: `{folder.run_command(store.root, '--name', name)}`"]
    text = "\n".join(lines) + "\n"
    folder.report.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.report / PARTIAL, text)
    return text


def _result(stage: str, artifacts: Mapping[str, Artifact]) -> str:
    """Return a stage's result in a few words."""
    path = artifacts[stage].path
    if stage == "scores":
        record = read_object(path / RELIABILITY)
        return f": reliability of the ranking {_number(record.get('spearman_brown'))}"
    if stage == "subset":
        subset = describe_subset(artifacts)
        return f": {subset['size']} images by {subset['measure']}"
    rows = read_metrics(path)
    if stage in ("scorer", "retrain", "probe") and rows and "test_accuracy" in rows[-1]:
        return f": top-1 error {100 * (1 - rows[-1]['test_accuracy']):.2f} % (last epoch)"
    if stage == "search" and rows:
        return f": {len(rows)} epochs"
    return ""


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "not defined"
