"""The model card of an exported network: its description, errors and cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.persistence.workspace import read_metrics
from evaluate.complexity import measure_complexity
from evaluate.retrain import summarise_accuracy
from pipeline.exports.network import TrainedNetwork
from pipeline.exports.recorded_run import RecordedRun
from pipeline.reports.page import cost_row, describe_dataset, fill_template
from pipeline.reports.training_time import devices_of
from pipeline.stages.subset import SUBSET
from pipeline.store.ledger import Cost
from subsample.selection import Subset

README = "README.md"


def write_card(
    run: RecordedRun, trained: TrainedNetwork, folder: Path, form: str, values: Mapping[str, Any]
) -> None:
    """Write README.md; `values` are those of the card's section for the export form."""
    text = fill_template("model_card.md.j2", _facts(run, trained) | {"form": form} | dict(values))
    (folder / README).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def _facts(run: RecordedRun, trained: TrainedNetwork) -> dict[str, Any]:
    config, dataset, stages = trained.config, trained.dataset, run.stages_behind(trained.stage)
    attempts = {name: run.store.ledger.attempts([run.stages[name]]) for name in stages}
    every = [attempt for made in attempts.values() for attempt in made]
    size = measure_complexity(config.build, dataset.image_size)
    return {
        "config": config,
        "run": run.config,
        "accuracy": summarise_accuracy(read_metrics(run.artifact(trained.stage).path)),
        "num_test": len(dataset.test),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "all_multiply_adds": size.all_multiply_adds,
        "average": _average(run, trained.stage),
        "data_name": dataset.name,
        "data": describe_dataset(dataset),
        "content_hash": dataset.content_hash,
        "subset": Subset.load(run.path("subset", SUBSET)) if "subset" in stages else None,
        "costs": [cost_row(name, attempts[name], run.config.name) for name in stages],
        "total": Cost.of(every),
        "devices": "; ".join(devices_of(every)),
    }


def _average(run: RecordedRun, stage: str) -> str:
    decay = run.config.retrain.average_decay if stage == "retrain" else None
    return "" if decay is None else f", their moving average of decay {decay:g}"
