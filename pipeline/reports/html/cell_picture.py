"""A genotype's cells as geometry, which `figures.html.j2` prints as SVG, and as sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from pcdarts.drawing import arrange_cell, cell_edges
from pcdarts.genotype import Genotype, Node

_SCALE = 100  # pixels an inch of `pcdarts.drawing`
_MARGIN = 46.0
_SOURCES = ("cell k−2", "cell k−1")
_NAMES = {"c_{k-2}": "k−2", "c_{k-1}": "k−1", "c_{k}": "k"}


@dataclass(frozen=True)
class CellPicture:
    """States, labels and lines in pixels."""

    title: str
    alt: str
    width: float
    height: float
    lines: list[tuple[float, float, float, float, str]]
    states: list[tuple[float, float, str, str]]
    labels: list[tuple[float, float, str]]
    edges: list[tuple[str, list[str]]]
    """(node, its two edges in words)."""


def cell_pictures(genotype: Genotype) -> list[CellPicture]:
    """The normal cell and the reduction cell."""
    return [
        _picture(genotype.normal, "Normal cell"),
        _picture(genotype.reduce, "Reduction cell"),
    ]


def _picture(nodes: Sequence[Node], title: str) -> CellPicture:
    places = arrange_cell(nodes)
    xs, ys = ([place[axis] for place in places.values()] for axis in (0, 1))
    left, top = min(xs), max(ys)
    at = {
        name: (
            round((x - left) * _SCALE + _MARGIN, 1),
            round((top - y) * _SCALE + _MARGIN, 1),
        )
        for name, (x, y) in places.items()
    }
    lines, labels = [], []
    for key, start, label, end in cell_edges(nodes):
        if label:
            labels.append((*at[key], label))
            lines += [(*at[start], *at[key], "edge"), (*at[key], *at[end], "edge")]
        else:
            lines.append((*at[start], *at[end], "output"))
    states = [
        (*point, _NAMES.get(name, name), "node" if name.isdigit() else "end")
        for name, point in at.items()
        if "/" not in name
    ]
    edges = [(f"node {i}", [_in_words(*edge) for edge in node]) for i, node in enumerate(nodes)]
    alt = f"{title}. " + " ".join(f"{name}: {' + '.join(parts)}." for name, parts in edges)
    width = (max(xs) - left) * _SCALE + 2 * _MARGIN
    height = (top - min(ys)) * _SCALE + 2 * _MARGIN
    return CellPicture(title, alt, round(width), round(height), lines, states, labels, edges)


def _in_words(operation: str, source: int) -> str:
    name = _SOURCES[source] if source < len(_SOURCES) else f"node {source - len(_SOURCES)}"
    return f"{operation} of {name}"
