"""A figure as SVG for an HTML page, with text as text and colours as CSS variables.

Nothing in it is looked up outside of the page or runs, and the same figure gives the same text.
"""

import math
import re
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from evaluate.figures.style import (
    BAND,
    BAR,
    EDGE,
    GREY,
    GRID,
    INK,
    PALETTE,
    PAPER,
    TEXT,
    figure_bytes,
)

VARIABLES = {colour: f"s{place}" for place, colour in enumerate(PALETTE)} | {
    INK: "ink", TEXT: "muted", EDGE: "muted", GREY: "muted", GRID: "grid",
    BAR: "bar", BAND: "band", PAPER: "panel",
    # Of `pcdarts.drawing`:
    "#3c4a57": "ink", "#b9c2ca": "faint", "#cfe3c8": "end", "#c9dcf0": "node", "#f3e2b3": "end",
}  # fmt: skip
"""CSS variables, without their dashes, by the colours of figures. Others stay as they are drawn."""

SMALLEST_TEXT = 9.0  # pixels, below which a figure is not shrunk but scrolled
_POINT = 96 / 72  # pixels
_NAMESPACES = re.compile(r"\{[^}]*\}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # not allowed in XML
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_SIZE = re.compile(r"font-size: ([\d.]+)px")
_TARGET = re.compile(r"#([\w.-]+)")


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The SVG element of `figure`, as wide as its container between two widths: at the least the
    smallest text has 9 pixels, at the most the figure has its own size.

    `name` opens its ids, so two figures of a page need two names. `title` and `description` say to
    those who cannot see the figure what it shows.
    """
    drawn = figure_bytes(figure, ".svg", **{"svg.fonttype": "none"})
    root = ElementTree.fromstring(_CONTROL.sub(b"", drawn))
    targets = {each for element in root.iter() for each in _targets(element)}
    for element in root.iter():
        _rewrite(element, name, targets)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    sizes = [float(size) for size in _SIZE.findall(ElementTree.tostring(root, "unicode"))]
    least = math.ceil(width * SMALLEST_TEXT / min(sizes, default=SMALLEST_TEXT)) + 1
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
        "style": f"min-width: {least}px; max-width: {max(least, round(width * _POINT))}px",
    }
    for child in [each for each in root if each.tag in ("metadata", "defs")]:
        if child.tag == "metadata" or child.find("style") is not None:
            root.remove(child)  # its one rule would hold for all of the page: see page.css
    for place, (tag, text) in enumerate({"title": title, "desc": description}.items()):
        label = ElementTree.Element(
            tag, id=f"{name}-{'title' if tag == 'title' else 'description'}"
        )
        label.text = text
        root.insert(place, label)
    return ElementTree.tostring(root, "unicode")


def describe_lines(figure: Figure) -> str:
    """How the lines of each panel begin and end, in words."""
    panels = []
    for axes in figure.axes:
        ends = [
            f"{line.get_label()} from {values[0]:.3g} to {values[-1]:.3g}"
            for line in axes.get_lines()
            if not str(line.get_label()).startswith("_")
            and len(values := np.asarray(line.get_ydata(), float))
        ]
        name = ", ".join(filter(None, (axes.get_title(), axes.get_title("left"))))
        panels.append(f"{name or axes.get_ylabel()}: {'; '.join(ends) or 'nothing to show'}.")
    return " ".join(panels)


def _targets(element: ElementTree.Element) -> list[str]:
    """The ids that an element refers to."""
    return [
        found
        for key, value in element.attrib.items()
        if key.endswith("href") or value.startswith("url(")
        for found in _TARGET.findall(value)
    ]


def _rewrite(element: ElementTree.Element, name: str, targets: set[str]) -> None:
    """Take away namespaces, fonts and ids that nothing refers to; name the colours."""
    element.tag = _NAMESPACES.sub("", element.tag)
    if element.tag not in ("text", "tspan"):
        element.text = (element.text or "").strip() or None
    element.tail = None
    attributes = {}
    for key, value in element.attrib.items():
        key = _NAMESPACES.sub("", key)
        if key == "id":
            if value not in targets:
                continue
            value = f"{name}-{value}"
        elif key == "d":
            value = " ".join(value.split())
        elif key == "style":
            value = _COLOUR.sub(_variable, _FONT.sub("", value)).strip("; ")
        elif value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        elif value.startswith("url("):
            value = value.replace("#", f"#{name}-")
        attributes[key] = value
    element.attrib = attributes


def _variable(match: re.Match[str]) -> str:
    known = VARIABLES.get(match[0])
    return f"var(--{known})" if known else match[0]
