"""Labels of least energy for a batch of grids, by one minimum cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

_UNCUTTABLE = 1 << 30

_Ints = NDArray[Any]  # of integers


def cut_grids(unary: _Ints, below: _Ints, beside: _Ints) -> _Ints:
    """Labels z, int64 [N, H, W], that minimise the energy of each of N grids exactly.

        Σ_i unary[i, z_i]  +  Σ_ij w_ij (z_i - z_j)²

    `unary` [N, H, W, L] are integer costs of L labels; `below` [N, H - 1, W] and `beside`
    [N, H, W - 1] are integer weights ≥ 0 between a site and the one below or to its right.

    A convex function of the difference of two ordered labels is a sum over pairs of their
    indicators a_l = [z ≥ l], all of which can be cut (Ishikawa 2003, "Exact optimization for
    Markov random fields with convex priors"). With x = Σ a_l and y = Σ b_l:
    (x - y)² = Σ_lm [a_l ≠ b_m] + x² + y² - (L - 1)(x + y).
    Raises ValueError if a weight is negative.
    """
    if (below < 0).any() or (beside < 0).any():
        raise ValueError("cut_grids: a negative weight has no minimum cut")
    unary = unary + _convex_part(below, beside, labels=unary.shape[-1])
    steps = np.diff(unary)  # [N, H, W, L - 1]: what a_l = 1 adds
    nodes = np.arange(steps.size).reshape(steps.shape)
    source, sink = steps.size, steps.size + 1
    edges: list[tuple[_Ints, _Ints, _Ints]] = [
        (np.full_like(nodes, source), nodes, np.maximum(-steps, 0)),
        (nodes, np.full_like(nodes, sink), np.maximum(steps, 0)),
        (nodes[..., 1:], nodes[..., :-1], np.full_like(nodes[..., 1:], _UNCUTTABLE)),
    ]
    neighbours = (
        (nodes[:, :-1], nodes[:, 1:], below),
        (nodes[:, :, :-1], nodes[:, :, 1:], beside),
    )
    for ours, theirs, weights in neighbours:
        tails, heads, capacities = np.broadcast_arrays(
            ours[..., :, None], theirs[..., None, :], weights[..., None, None]
        )
        edges += [(tails, heads, capacities), (heads, tails, capacities)]
    on_source_side = _least_cut(edges, source, sink)
    return on_source_side[:-2].reshape(steps.shape).sum(-1)


def _convex_part(below: _Ints, beside: _Ints, labels: int) -> _Ints:
    """Return what the pairs add to each site's own costs, [N, H, W, L]."""
    number, height, width = beside.shape[0], beside.shape[1], below.shape[2]
    weight = np.zeros((number, height, width), np.int64)  # of all of a site's pairs
    weight[:, :-1] += below
    weight[:, 1:] += below
    weight[:, :, :-1] += beside
    weight[:, :, 1:] += beside
    label = np.arange(labels)
    return weight[..., None] * (label**2 - (labels - 1) * label)


def _least_cut(
    edges: Sequence[tuple[_Ints, _Ints, _Ints]], source: int, sink: int
) -> NDArray[np.bool_]:
    """Return for each node whether it is on the source's side of a minimum cut."""
    tails, heads, capacities = (
        np.concatenate([part.ravel() for part in parts]) for parts in zip(*edges, strict=True)
    )
    used = capacities > 0
    graph = csr_matrix(
        (capacities[used].astype(np.int32), (tails[used], heads[used])), shape=(sink + 1, sink + 1)
    )
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    side = np.zeros(sink + 1, dtype=bool)
    side[reached] = True
    return side
