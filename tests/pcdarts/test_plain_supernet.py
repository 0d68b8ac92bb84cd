"""The reference itself, on hand-worked cases."""

import torch
import torch.nn.functional as F

from pcdarts.genotype import NUM_EDGES
from pcdarts.operations import CANDIDATES, OPERATIONS
from pcdarts.plain_supernet import MixedOperation, PlainSupernet


def _skip_only() -> torch.Tensor:
    alphas = torch.zeros(len(OPERATIONS))
    alphas[OPERATIONS.index("skip_connect")] = 1
    return alphas


def test_an_edge_shuffles_active_channels_among_the_bypassed() -> None:
    inputs = torch.arange(8.0).reshape(1, 8, 1, 1).expand(2, 8, 4, 4)
    outputs = MixedOperation(8, 1, partial=4)(inputs, _skip_only())
    # Four groups of two, interleaved: channels 0, 2, 4, 6, then 1, 3, 5, 7.
    assert outputs[0, :, 0, 0].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_bypassed_channels_are_max_pooled_at_stride_2() -> None:
    inputs = torch.arange(64.0).reshape(1, 4, 4, 4)
    outputs = MixedOperation(4, 2, partial=2)(inputs, torch.zeros(len(OPERATIONS)))
    assert torch.equal(outputs[:, [1, 3]], F.max_pool2d(inputs[:, 2:], 2))
    assert outputs[:, [0, 2]].abs().max() == 0


def test_the_share_of_none_adds_nothing() -> None:
    edge = MixedOperation(4, 1, partial=2)
    inputs, alphas = torch.randn(2, 4, 5, 5), torch.full((8,), 0.1)
    less = edge(inputs, alphas)
    alphas[0] = 0.9
    assert torch.equal(edge(inputs, alphas), less)
    assert len(edge.operations) == len(CANDIDATES)


def test_operations_are_weighted_by_alpha() -> None:
    edge = MixedOperation(4, 1, partial=1)
    inputs, generator = torch.randn(2, 4, 5, 5), torch.Generator().manual_seed(0)
    alphas = torch.rand(8, generator=generator)
    singles = torch.stack([edge(inputs, torch.eye(8)[i]) for i in range(1, 8)])
    expected = torch.tensordot(alphas[1:], singles, 1)
    torch.testing.assert_close(edge(inputs, alphas), expected)


def test_a_node_is_the_sum_of_its_edges_weighted_by_beta() -> None:
    cell = PlainSupernet(5, channels=4, cells=3, partial=2).cells[0]
    alphas, state = torch.full((NUM_EDGES, 8), 0.125), torch.randn(2, 12, 5, 5)
    betas = torch.zeros(NUM_EDGES)
    betas[0], betas[1] = 0.3, 0.7
    first = 0.3 * cell.edges[0](cell.preprocess0(state), alphas[0])
    second = 0.7 * cell.edges[1](cell.preprocess1(state), alphas[1])
    nodes = cell(state, state, alphas, betas).chunk(4, 1)
    torch.testing.assert_close(nodes[0], first + second)
    assert all(node.abs().max() == 0 for node in nodes[1:])
