"""Inline SVG of a figure for an HTML page, with text as text and colours as CSS variables.

The SVG has no scripts and no external references, and the same figure gives the same text.
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
    "#3c4a57": "ink", "#b9c2ca": "faint", "#cfe3c8": "end", "#c9dcf0": "node", "#f3e2b3": "out",
}  # fmt: skip
"""CSS variables, without their dashes, by colour of the figure. Other colours are kept."""

SMALLEST_TEXT = 9.0  # pixels; a figure scrolls instead of shrinking below it
LARGEST_TEXT = 14.0  # pixels, of the smallest text; a figure grows no further on a wide page
_NAMESPACES = re.compile(r"\{[^}]*\}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # not allowed in XML
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_SIZE = re.compile(r"font-size: ([\d.]+)px")
_TARGET = re.compile(r"#([\w.-]+)")


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Return the SVG element of `figure`, as wide as its container. Its minimum width keeps the
    smallest text at 9 pixels, its maximum width at 14 pixels.

    `name` prefixes its ids, so it must be unique on a page. `title` and `description` are for
    screen readers.
    """
    drawn = figure_bytes(figure, ".svg", **{"svg.fonttype": "none"})
    root = ElementTree.fromstring(_CONTROL.sub(b"", drawn))
    targets = {each for element in root.iter() for each in _targets(element)}
    for element in root.iter():
        _rewrite(element, name, targets)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    sizes = [float(size) for size in _SIZE.findall(ElementTree.tostring(root, "unicode"))]
    smallest = min(sizes, default=SMALLEST_TEXT)
    least, most = (math.ceil(width * size / smallest) + 1 for size in (SMALLEST_TEXT, LARGEST_TEXT))
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
        "style": f"min-width: {least}px; max-width: {most}px",
    }
    for child in [each for each in root if each.tag in ("metadata", "defs")]:
        if child.tag == "metadata" or child.find("style") is not None:
            root.remove(child)  # its only rule would apply to the entire page: see page.css
    for place, (tag, text) in enumerate({"title": title, "desc": description}.items()):
        label = ElementTree.Element(
            tag, id=f"{name}-{'title' if tag == 'title' else 'description'}"
        )
        label.text = text
        root.insert(place, label)
    return ElementTree.tostring(root, "unicode")


def describe_lines(figure: Figure) -> str:
    """Describe the first and last value of each panel's lines."""
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
    """Return the ids that an element refers to."""
    return [
        found
        for key, value in element.attrib.items()
        if key.endswith("href") or value.startswith("url(")
        for found in _TARGET.findall(value)
    ]


def _rewrite(element: ElementTree.Element, name: str, targets: set[str]) -> None:
    """Remove namespaces, fonts and unused ids; replace colours by CSS variables."""
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
