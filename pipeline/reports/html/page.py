"""A page: a template filled in, everything that it shows inside it, and no script.

Whatever comes from a config, a folder or a file is escaped, class names among it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from classification.persistence.storage import write_atomically

PAGE = "report.html"
_MARK = '<meta name="generator" content="nas-acceleration">'
_HEAD = 1000  # characters in which a page's mark stands
_TEMPLATES = Path(__file__).parents[1] / "templates"


def write_html(path: Path, template: str, values: Mapping[str, Any]) -> None:
    """Write `template` filled with `values`, whole or not at all. Missing folders are made."""
    text = _environment().get_template(template).render(**values, mark=Markup(_MARK))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def is_page(path: Path) -> bool:
    """Whether a file is one that `write_html` wrote."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(_HEAD)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.filters["dash"] = lambda value: "–" if value is None else value
    environment.filters["marked"] = _marked
    return environment


def _marked(line: str) -> Markup:
    """A line of report.md as HTML: `**strong**` and `` `code` ``, the rest as it reads."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(line)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", text))
