import pytest
import torch
import torch.nn.functional as F

from pcdarts.genotype import NUM_EDGES
from pcdarts.operations import CANDIDATES, OPERATIONS
from pcdarts.supernet import MixedOperation, Supernet


def _small(generator: torch.Generator | None = None) -> Supernet:
    return Supernet(5, channels=4, cells=3, partial=2, generator=generator)


@pytest.mark.parametrize(
    ("num_classes", "partial", "parameters"),
    [(10, 4, 299_578), (100, 4, 322_708), (10, 1, 1_930_618)],
)
def test_supernet_has_the_weights_of_the_reference(
    num_classes: int, partial: int, parameters: int
) -> None:
    with torch.device("meta"):
        model = Supernet(num_classes, partial=partial)
    assert sum(weight.numel() for weight in model.weight_parameters()) == parameters


def test_weights_and_architecture_divide_the_parameters() -> None:
    model = _small()
    parts = [*model.weight_parameters(), *model.architecture_parameters()]
    assert {id(part) for part in parts} == {id(parameter) for parameter in model.parameters()}
    assert [tuple(part.shape) for part in model.architecture_parameters()] == [
        (14, 8),
        (14, 8),
        (14,),
        (14,),
    ]


def test_architecture_starts_near_zero_from_the_generator() -> None:
    first = _small(torch.Generator().manual_seed(3))
    again = _small(torch.Generator().manual_seed(3))
    drawn = torch.cat([part.flatten() for part in first.architecture_parameters()])
    assert torch.equal(first.alphas_reduce, again.alphas_reduce)
    assert drawn.std().item() == pytest.approx(1e-3, rel=0.2)


@pytest.mark.parametrize("side", [8, 9, 11])
@pytest.mark.parametrize("partial", [1, 2, 4])
def test_any_side_and_share_of_channels_gives_logits(side: int, partial: int) -> None:
    model = Supernet(5, channels=4, cells=3, partial=partial)
    assert model(torch.randn(2, 3, side, side)).shape == (2, 5)


def test_channels_that_k_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="partial 4 must divide channels 6"):
        Supernet(10, channels=6)


def test_every_weight_and_every_alpha_and_beta_has_a_gradient() -> None:
    model = _small()
    F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


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
    cell = _small().cells[0]
    alphas, state = torch.full((NUM_EDGES, 8), 0.125), torch.randn(2, 12, 5, 5)
    betas = torch.zeros(NUM_EDGES)
    betas[0], betas[1] = 0.3, 0.7
    first = 0.3 * cell.edges[0](cell.preprocess0(state), alphas[0])
    second = 0.7 * cell.edges[1](cell.preprocess1(state), alphas[1])
    nodes = cell(state, state, alphas, betas).chunk(4, 1)
    torch.testing.assert_close(nodes[0], first + second)
    assert all(node.abs().max() == 0 for node in nodes[1:])
