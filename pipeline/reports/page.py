"""Files, templates and common lines of all reports.

An HTML page is self-contained and runs no scripts. Text from configs, folders and files, such as
class names, is escaped.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from classification.persistence.storage import write_atomically
from pipeline.config import PipelineConfig
from pipeline.run_folder import REPORT, RESULTS, RunFolder
from pipeline.store.checksum import add_checksum
from pipeline.store.ledger import Attempt, Cost
from pipeline.store.store import Artifact, Store

if TYPE_CHECKING:
    from classification.data.datasets import ImageDataset
from classification.durations import format_cost, format_duration

_MARK = '<meta name="generator" content="nas-acceleration">'
_HOURS_DIGITS = 8
_BUSY = 0.1  # share of the wall time, from which on waiting for a processor is named
_HEAD = 1000  # characters at the start of a page that include the mark


def write_page(
    folder: Path, template: str, values: Mapping[str, Any], results: Mapping[str, Any]
) -> None:
    """Write report.md, `template` filled with `values`, and results.json with its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, fill_template(template, values))
    text = json.dumps(add_checksum(results), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RESULTS, text + "\n")


def write_html(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Write `template` filled with `values` atomically. Missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, fill_template(template, {**values, "mark": Markup(_MARK)}))


def is_page(path: Path) -> bool:
    """Return whether a file was written by `write_html`."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(_HEAD)


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template in pipeline/reports/templates/ with `values`."""
    return _environment().get_template(template).render(**values)


def markdown_table(columns: Mapping[str, Sequence[str]], words: int = 1) -> str:
    """Return a table of columns by title; all except the first `words` are right-aligned."""
    rule = ["---"] * words + ["---:"] * (len(columns) - words)
    rows = [tuple(columns), rule, *zip(*columns.values(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def fill(*sentences: str) -> str:
    """Join sentences to paragraphs, which an empty line separates, with lines of at most 100
    characters."""
    paragraphs = " ".join(filter(None, sentences)).split("\n\n")
    return "\n\n".join(textwrap.fill(each, 100) for each in paragraphs)


def describe_dataset(dataset: "ImageDataset") -> dict[str, Any]:
    """Return a dataset's name, its image size, and a line with the number of images."""
    size = dataset.image_size
    return {
        "name": dataset.name,
        "image_size": size,
        "classes": dataset.num_classes,
        "evaluated": dataset.evaluated,
        "line": f"{dataset.name}: {len(dataset.train):,} training and {len(dataset.test):,} "
        f"{dataset.evaluated} images of {dataset.num_classes} classes, {size}×{size}",
    }


def best_label(results: Mapping[str, Any]) -> str:
    """Describe how the best epoch was selected."""
    if results["accuracy"]["best_chosen_by"] == "validation":
        return "selected on a held-out part of train"
    return describe_optimistic(results["classes"]["evaluated"])


def describe_optimistic(evaluated: str) -> str:
    """Describe a best epoch that the evaluated images selected, by their usual name."""
    return f"lowest {evaluated} error: optimistic, not used for selection"


def describe_whole_run(artifacts: Mapping[str, Artifact], store: Store) -> dict[str, Any]:
    """Return the hours of all stages and attempts of a run, with retraining, robustness and
    landscape, as in results.json."""
    made = [artifact.fingerprint for artifact in artifacts.values()]
    hours = asdict(Cost.of(store.ledger.attempts(made)))
    return {"whole_run": {kind: round(value, _HOURS_DIGITS) for kind, value in hours.items()}}


def show_whole_run(results: Mapping[str, Any]) -> tuple[str, str]:
    """Return the device-hours and the wall time of all stages, as text."""
    cost = Cost(**results["whole_run"])
    return str(cost), format_duration(3600 * cost.wall_hours)


def head_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows of a report's first table: how sure the error is, and what the run cost."""
    classes, (cost, wall) = results["classes"], show_whole_run(results)
    rows = []
    if classes["interval"] is not None:
        low, high = classes["interval"]
        images = f"{sum(classes['test_images']):,} {classes['evaluated']} images"
        interval = f"{low:.2f} to {high:.2f} % ({images}, Wilson 1927)"
        rows.append(("95 % interval of this error", interval))
    return [
        *rows,
        (
            "error of guessing",
            f"{classes['guessing_error']:.2f} % (always the most frequent of the "
            f"{len(classes['names'])} classes)",
        ),
        ("cost of the whole run", f"{cost} (all stages and attempts)"),
        ("wall time of the whole run", f"{wall} (all stages and attempts)"),
    ]


def cost_row(
    stage: str, attempts: Sequence[Attempt], run: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a row of the cost table: a stage's cost and wall time over all attempts, and its
    origin."""
    makers = {attempt.run for attempt in attempts}
    busy = [note] if (note := _waiting(attempts)) else []
    reused = [f"reused from {', '.join(sorted(makers))}"] if makers and run not in makers else []
    cost = Cost.of(attempts)
    return {
        "stage": stage,
        "cost": str(cost),
        "wall": format_duration(3600 * cost.wall_hours),
        "attempts": len(attempts),
        "note": "; ".join([*reused, *notes, *busy]),
    }


def _waiting(attempts: Sequence[Attempt]) -> str:
    """Return how long other programs held the processors, if it was a tenth of the time or more.

    Only the main thread's waiting is recorded, so it is a lower bound.
    """
    waited = sum(attempt.waited_seconds or 0.0 for attempt in attempts)
    total = sum(attempt.seconds for attempt in attempts)
    if not total or waited / total < _BUSY:
        return ""
    return f"other programs held the processors for at least {waited / total:.0%} of the wall time"


def stage_cost_row(
    name: str, artifact: Artifact, store: Store, config: PipelineConfig
) -> dict[str, Any]:
    """Return a stage's row of the cost table, from its artifact."""
    notes = []
    if name == "scorer" and config.scorer.weights is not None:
        notes.append("loaded; the cost of its training is not included")
    if name == "subset" and config.subset.made_elsewhere:
        file = config.subset.indices or config.scores.file
        notes.append(f"from {file}, whose cost is unknown and not included")
    return cost_row(name, store.ledger.attempts([artifact.fingerprint]), config.name, notes)


def start_up_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Return the row of the cost table for what happened before the first stage, if recorded."""
    attempts = run.start_ups.attempts()
    row = cost_row("start-up and loading images", attempts, run.path.name, ["not in the totals"])
    return [row] if attempts else []


def describe_start_up(run: RunFolder) -> dict[str, Any]:
    """Return the wall time of the run's start-ups, as in results.json."""
    attempts = run.start_ups.attempts()
    seconds = round(sum(attempt.seconds for attempt in attempts), 3)
    return {"start_up": {"wall_seconds": seconds, "attempts": len(attempts)}}


def show_cost(hours: float | dict[str, float], unit: str) -> str:
    """Format a cost as in results.json, by device kind if both were used."""
    return str(Cost(**hours)) if isinstance(hours, dict) else format_cost(hours, unit)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.filters["dash"] = lambda value: "–" if value is None else value
    environment.filters["fill"] = fill
    environment.filters["table"] = markdown_table
    environment.filters["images"] = _images
    environment.filters["marked"] = _marked
    return environment


def _images(pictures: Iterable[Any]) -> str:
    """Show pictures in Markdown."""
    return "\n\n".join(f"![{picture.title}]({picture.file})" for picture in pictures)


def _marked(line: str) -> Markup:
    """Convert a line of report.md to HTML: `**strong**`, `` `code` ``, and escaped text."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(line)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", text))
