"""The genotype: the operations and edges of the two cells (Liu et al. 2019; Xu et al. 2020).

A cell has two inputs, sources 0 and 1, and four nodes, which are sources 2 to 5 for later nodes.
A node is the sum of two edges; the cell's output is the concatenation of its nodes.
"""

import json
import reprlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from classification.errors import ArtifactError
from classification.persistence.storage import write_atomically
from classification.persistence.untrusted_files import read_json
from pcdarts.operations import CANDIDATES

NUM_INPUTS = 2
NUM_NODES = 4
EDGES_PER_NODE = tuple(NUM_INPUTS + node for node in range(NUM_NODES))  # in the supernet
NUM_EDGES = sum(EDGES_PER_NODE)
SOURCE_NAMES = ("cₖ₋₂", "cₖ₋₁", *(f"node {node}" for node in range(NUM_NODES)))
_EDGES_KEPT = 2
MAX_BYTES = 1 << 16  # of a file; a genotype takes about 2,000


class Edge(NamedTuple):
    """An operation and the source it is applied to."""

    operation: str
    source: int


Node = tuple[Edge, Edge]


@dataclass(frozen=True)
class Genotype:
    """The four nodes of the normal cell and of the reduction cell."""

    normal: tuple[Node, ...]
    reduce: tuple[Node, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: cell → node → edge → [operation, source]."""
        return {
            cell: [[list(edge) for edge in node] for node in nodes]
            for cell, nodes in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, value: Any, where: str = "genotype") -> "Genotype":
        """Invert `to_dict`. Raises ArtifactError, starting with `where`, for an invalid value."""
        if not isinstance(value, dict) or set(value) != {"normal", "reduce"}:
            found = reprlib.repr(sorted(value)) if isinstance(value, dict) else type(value).__name__
            raise ArtifactError(f"{where}: found {found}; a genotype has keys normal and reduce")
        return cls(
            _read_cell(value["normal"], f"{where}: normal"),
            _read_cell(value["reduce"], f"{where}: reduce"),
        )

    def save(self, path: Path) -> None:
        """Write the JSON form atomically."""
        write_atomically(path, json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Genotype":
        """Read the JSON form. Raises ArtifactError if the file is missing or not a genotype."""
        return cls.from_dict(read_json(path, MAX_BYTES), where=str(path))


def derive_genotype(
    alphas_normal: Tensor, alphas_reduce: Tensor, betas_normal: Tensor, betas_reduce: Tensor
) -> Genotype:
    """Select each node's two strongest edges, the stronger first, with their best operations.

    The strength of an edge is its largest softmax(α)·softmax(β) over the operations except none
    (Xu et al. 2020, Section 3.3). α are [14, 8], β are [14].
    """
    return Genotype(
        _derive_cell(alphas_normal, betas_normal), _derive_cell(alphas_reduce, betas_reduce)
    )


def normalize_edges(betas: Tensor) -> Tensor:
    """Return the softmax of β [14] over the input edges of each node (Xu et al. 2020, Eq. 3)."""
    return torch.cat([node.softmax(0) for node in betas.split(EDGES_PER_NODE)])


def skip_connections(genotype: Genotype) -> dict[str, int]:
    """Count the skip connections among the eight edges of each cell."""
    return {
        cell: sum(edge.operation == "skip_connect" for node in nodes for edge in node)
        for cell, nodes in (("normal", genotype.normal), ("reduce", genotype.reduce))
    }


def entropy(alphas: Tensor, betas: Tensor) -> dict[str, float]:
    """Return the mean entropy of softmax(α) over edges and softmax(β) over nodes, nats."""
    operations = torch.special.entr(alphas.detach().double().softmax(1)).sum()
    edges = torch.special.entr(normalize_edges(betas.detach().double())).sum()
    return {"alphas": float(operations) / NUM_EDGES, "betas": float(edges) / NUM_NODES}


def runners_up(alphas: Tensor, betas: Tensor) -> list[tuple[int, Edge, float, float]]:
    """The eight edges chosen for a cell: the node of each, the edge, its strength, and that of the
    next best choice.

    That is the strongest that could replace it: another operation on the edge, or the best one on
    an edge of the node that is not chosen.
    """
    found = []
    cell, strengths = _derive_cell(alphas, betas), _strengths(alphas, betas)
    for index, incoming in enumerate(strengths.split(EDGES_PER_NODE)):
        others = incoming.clone()
        others[[edge.source for edge in cell[index]]] = 0
        for edge in cell[index]:
            best, second = incoming[edge.source].topk(2).values.tolist()
            found.append((index, edge, best, max(second, float(others.max()))))
    return found


def _strengths(alphas: Tensor, betas: Tensor) -> Tensor:
    """softmax(α)·softmax(β) of the operations other than none, [14, 7]."""
    alphas, betas = alphas.detach().double().cpu(), betas.detach().double().cpu()
    return alphas.softmax(1)[:, 1:] * normalize_edges(betas)[:, None]


def _derive_cell(alphas: Tensor, betas: Tensor) -> tuple[Node, ...]:
    nodes = []
    for incoming in _strengths(alphas, betas).split(EDGES_PER_NODE):
        strength, operation = incoming.max(1)
        first, second = strength.argsort(descending=True, stable=True)[:_EDGES_KEPT].tolist()
        nodes.append(
            (
                Edge(CANDIDATES[int(operation[first])], first),
                Edge(CANDIDATES[int(operation[second])], second),
            )
        )
    return tuple(nodes)


def _read_cell(value: Any, where: str) -> tuple[Node, ...]:
    if not isinstance(value, list) or len(value) != NUM_NODES:
        found = type(value).__name__
        if isinstance(value, list):
            found = "1 node" if len(value) == 1 else f"{len(value)} nodes"
        raise ArtifactError(f"{where}: found {found}; a cell has {NUM_NODES} nodes")
    nodes = []
    for index, node in enumerate(value):
        if not isinstance(node, list) or len(node) != _EDGES_KEPT:
            raise ArtifactError(
                f"{where}: node {index}: found {reprlib.repr(node)}; a node has two edges"
            )
        first, second = (
            _read_edge(edge, EDGES_PER_NODE[index], f"{where}: node {index}") for edge in node
        )
        if first.source == second.source:
            raise ArtifactError(
                f"{where}: node {index}: both edges come from source {first.source}; allowed: two "
                "different sources"
            )
        nodes.append((first, second))
    return tuple(nodes)


def _read_edge(value: Any, sources: int, where: str) -> Edge:
    if not isinstance(value, list) or len(value) != len(Edge._fields):
        raise ArtifactError(f"{where}: found {reprlib.repr(value)}; an edge is [operation, source]")
    operation, source = value
    if operation not in CANDIDATES:
        allowed = ", ".join(CANDIDATES)
        raise ArtifactError(
            f"{where}: unknown operation {reprlib.repr(operation)}; allowed: {allowed}"
        )
    if type(source) is not int or not 0 <= source < sources:
        raise ArtifactError(f"{where}: source {reprlib.repr(source)}; allowed: 0 to {sources - 1}")
    return Edge(operation, source)


def random_genotype(generator: torch.Generator, convolutions: float | None = None) -> Genotype:
    """Draw a genotype from the search space, uniformly or with a share of convolutions.

    Each node draws two of its sources and, for each, one of the operations except none; the lower
    source comes first. Given `convolutions`, 0 to 1, an operation is a convolution with that
    probability, else a pooling or the identity, each as likely as the others of its kind.
    `generator` is on the CPU.
    """
    normal, reduce = (
        tuple(_draw_node(sources, generator, convolutions) for sources in EDGES_PER_NODE)
        for _ in range(2)
    )
    return Genotype(normal=normal, reduce=reduce)


def _draw_node(num_sources: int, generator: torch.Generator, convolutions: float | None) -> Node:
    first, second = sorted(torch.randperm(num_sources, generator=generator)[:2].tolist())
    if convolutions is None:
        drawn = torch.randint(len(CANDIDATES), (2,), generator=generator).tolist()
        operations = [CANDIDATES[index] for index in drawn]
    else:
        operations = [_draw_operation(generator, convolutions) for _ in range(2)]
    return Edge(operations[0], first), Edge(operations[1], second)


def _draw_operation(generator: torch.Generator, convolutions: float) -> str:
    wanted = bool(torch.rand((), generator=generator) < convolutions)
    kind = [name for name in CANDIDATES if ("conv" in name) == wanted]
    return kind[int(torch.randint(len(kind), (), generator=generator))]
