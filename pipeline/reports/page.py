"""What all reports share: files, templates, and common lines.

A page in HTML shows everything that is in it without a file beside it, and runs no script. Whatever
comes from a config, a folder or a file is escaped there, class names among it.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from classification.data.datasets import ImageDataset
from classification.persistence.storage import write_atomically
from pipeline.config import PipelineConfig
from pipeline.run_folder import REPORT, RESULTS
from pipeline.store.checksum import add_checksum
from pipeline.store.ledger import Attempt, Cost, format_hours
from pipeline.store.store import Artifact, Store

PAGE = "report.html"
_MARK = '<meta name="generator" content="nas-acceleration">'
_HEAD = 1000  # characters at the start of a page, its mark among them
BEST_IS_OPTIMISTIC = "lowest test error seen: optimistic, nothing was chosen by it"


def write_page(
    folder: Path, template: str, values: Mapping[str, Any], results: Mapping[str, Any]
) -> None:
    """Write report.md, which is `template` filled with `values`, and results.json, sealed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, fill_template(template, values))
    text = json.dumps(add_checksum(results), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / RESULTS, text + "\n")


def write_html(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Write `template` filled with `values`, whole or not at all. Missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, fill_template(template, {**values, "mark": Markup(_MARK)}))


def is_page(path: Path) -> bool:
    """Whether a file is one that `write_html` wrote."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(_HEAD)


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
    """How the best epoch was chosen, in words."""
    if chosen_by == "validation":
        return "chosen on a held-out part of train"
    return BEST_IS_OPTIMISTIC


def cost_row(
    stage: str, attempts: Sequence[Attempt], run: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """A row of the table of costs: a stage's hours over all attempts, and the runs that made it."""
    makers = {attempt.run for attempt in attempts}
    reused = [f"reused from {', '.join(sorted(makers))}"] if makers and run not in makers else []
    hours = Cost.of(attempts)
    return {
        "stage": stage,
        "hours": str(hours) if hours.hours is None else format_hours(hours.hours),
        "attempts": len(attempts),
        "note": "; ".join([*reused, *notes]),
    }


def stage_cost_row(
    name: str, artifact: Artifact, store: Store, config: PipelineConfig
) -> dict[str, Any]:
    """A stage's row of the table of costs, from its artifact."""
    notes = []
    if name == "scorer" and config.scorer.weights is not None:
        notes.append("loaded; what its training cost elsewhere is not counted")
    return cost_row(name, store.ledger.attempts([artifact.fingerprint]), config.name, notes)


def show_hours(hours: float | dict[str, float], divisor: int = 1) -> str:
    """Hours as results.json holds them, for a person; of both kinds of device where both served."""
    if isinstance(hours, dict):
        gpu, cpu = (format_hours(hours[key] / divisor) for key in ("gpu_hours", "cpu_hours"))
        return f"{gpu} GPU + {cpu} CPU"
    return format_hours(hours / divisor)


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
    """Pictures of a report, in Markdown."""
    return "\n\n".join(f"![{picture.title}]({picture.file})" for picture in pictures)


def _marked(line: str) -> Markup:
    """A line of report.md as HTML: `**strong**` and `` `code` ``, the rest as text."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(line)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", text))
