"""Conversion of a supernet's weights between the merged form and the plain form of the papers.

The plain form, used by DARTS-family repositories, has one module per operation of each edge,
`cells.I.edges.E.operations.O`. Edges are ordered by target node, then by source; operations are
those of CANDIDATES in their order, built as in operations.py, pools with a BatchNorm after them.
The merged form is that of supernet.py. Names outside the edges are the same in both.

Both functions convert any tensors shaped like the weights: a state, gradients, momenta.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pcdarts.genotype import EDGES_PER_NODE, NUM_INPUTS, NUM_NODES
from pcdarts.supernet import SOURCES

# Merged name → the plain names whose rows it concatenates, for every state and node.
_WEIGHTS = {
    "separable.0.depthwise.weight": ("3.1.weight",),
    "separable.1.depthwise.weight": ("4.1.weight",),
    "separable.0.pointwise.weight": ("3.2.weight",),
    "separable.1.pointwise.weight": ("4.2.weight",),
    "separable_again.0.0.weight": ("3.5.weight",),
    "separable_again.1.0.weight": ("4.5.weight",),
    "separable_again.0.1.weight": ("3.6.weight",),
    "separable_again.1.1.weight": ("4.6.weight",),
    "dilated.0.depthwise.weight": ("5.1.weight",),
    "dilated.1.depthwise.weight": ("6.1.weight",),
    "dilated.0.pointwise.weight": ("5.2.weight",),
    "dilated.1.pointwise.weight": ("6.2.weight",),
    "reduction.even.weight": ("2.even.weight",),
    "reduction.odd.weight": ("2.odd.weight",),
}
_NORMS = {
    "first_norm": ("3.3", "4.3", "0.1", "1.1"),
    "norm": ("3.7", "4.7", "5.3", "6.3"),
    "reduction.norm": ("2.norm",),
}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_LAYOUT = _WEIGHTS | {
    f"{norm}.{statistic}": tuple(f"{part}.{statistic}" for part in parts)
    for norm, parts in _NORMS.items()
    for statistic in _STATISTICS
}
_POOLS = ("0.", "1.")  # the same for every node of a state, so merged only once
_MERGED = re.compile(r"(cells\.\d+)\.sources\.(\d+)\.(.+)")
_PLAIN = re.compile(r"(cells\.\d+)\.edges\.(\d+)\.operations\.(.+)")


def to_plain(merged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return merged tensors under plain names. Raises KeyError for a name of no supernet."""
    plain: dict[str, Tensor] = {}
    for name, tensor in merged.items():
        match = _MERGED.fullmatch(name)
        if match is None:
            plain[name] = tensor
            continue
        cell, source, inner = match.groups()
        names = [
            [f"{cell}.edges.{edge}.operations.{part}" for edge in edges]
            for part in _LAYOUT[inner]
            for edges in _shares(int(source), part)
        ]
        if tensor.ndim == 0:  # BatchNorm's batch counter
            plain |= {edge: tensor.clone() for edges in names for edge in edges}
            continue
        width = len(tensor) // len(names)
        for edges, rows in zip(names, tensor.split(width), strict=True):
            plain |= {edge: rows.clone() for edge in edges}
    return plain


def to_merged(plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return plain tensors under merged names. Raises KeyError if one of them is missing."""
    merged = {name: tensor for name, tensor in plain.items() if not _PLAIN.fullmatch(name)}
    cells = dict.fromkeys(match[1] for name in plain if (match := _PLAIN.fullmatch(name)))
    for cell in cells:
        reducing = f"{cell}.edges.0.operations.2.even.weight" in plain
        for source in range(len(SOURCES)):
            for inner, parts in _LAYOUT.items():
                if inner.startswith("reduction.") and (source > 0 or not reducing):
                    continue
                tensors = [
                    plain[f"{cell}.edges.{edges[0]}.operations.{part}"]
                    for part in parts
                    for edges in _shares(source, part)
                ]
                joined = tensors[0] if tensors[0].ndim == 0 else torch.cat(tensors)
                merged[f"{cell}.sources.{source}.{inner}"] = joined.clone()
    return merged


def _shares(source: int, part: str) -> Iterator[list[int]]:
    """Yield the plain edges of each block of rows of a part: one, or for a pool all of a state."""
    states, nodes = SOURCES[source]
    first = 0 if source == 0 else NUM_INPUTS + source - 1
    for state in range(first, first + states):
        edges = [sum(EDGES_PER_NODE[:node]) + state for node in range(NUM_NODES - nodes, NUM_NODES)]
        yield from [edges] if part.startswith(_POOLS) else ([edge] for edge in edges)
