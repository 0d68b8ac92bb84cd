"""What reports have in common: their files, their templates, and lines that all of them print."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from classification.data.datasets import ImageDataset
from classification.persistence.storage import write_atomically
from pipeline.run_folder import REPORT, RESULTS
from pipeline.store.checksum import add_checksum
from pipeline.store.ledger import Attempt, Cost, format_hours

BEST_IS_OPTIMISTIC = "lowest test error seen: optimistic, nothing was chosen by it"


def write_page(
    folder: Path, template: str, values: Mapping[str, Any], results: Mapping[str, Any]
) -> None:
    """Write report.md, which is `template` filled with `values`, and results.json, sealed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, fill_template(template, values))
    text = json.dumps(add_checksum(results), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RESULTS, text + "\n")


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """The text of a file in pipeline/reports/templates/ with `values` in it."""
    return _environment().get_template(template).render(**values)


def markdown_table(columns: Mapping[str, Sequence[str]], words: int = 1) -> str:
    """A table from its columns by their titles; all but the first `words` hold figures."""
    rule = ["---"] * words + ["---:"] * (len(columns) - words)
    rows = [tuple(columns), rule, *zip(*columns.values(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def fill(*sentences: str) -> str:
    """A paragraph of these, in lines of at most 100 characters."""
    return textwrap.fill(" ".join(filter(None, sentences)), 100)


def describe_dataset(dataset: ImageDataset) -> dict[str, Any]:
    """A dataset's name, the side of its images, and a line that says how many there are."""
    size = dataset.image_size
    return {
        "name": dataset.name,
        "image_size": size,
        "line": f"{dataset.name}: {len(dataset.train):,} training and {len(dataset.test):,} test "
        f"images of {dataset.num_classes} classes, {size}×{size}",
    }


def best_label(chosen_by: str) -> str:
    """What the best epoch's error is worth."""
    if chosen_by == "validation":
        return "chosen on a held-out part of train"
    return BEST_IS_OPTIMISTIC


def cost_row(
    stage: str, attempts: Sequence[Attempt], run: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """A row of the table of costs: a stage's hours over all attempts, and whose they were."""
    makers = {attempt.run for attempt in attempts}
    reused = [f"reused from {', '.join(sorted(makers))}"] if makers and run not in makers else []
    hours = Cost.of(attempts)
    return {
        "stage": stage,
        "hours": str(hours) if hours.hours is None else format_hours(hours.hours),
        "attempts": len(attempts),
        "note": "; ".join([*reused, *notes]),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=False,
        autoescape=False,
    )
    environment.filters["dash"] = lambda value: "–" if value is None else value
    environment.filters["fill"] = fill
    environment.filters["table"] = markdown_table
    return environment
