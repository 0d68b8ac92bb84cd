import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcdarts.operations import CANDIDATES, FactorizedReduce, build_operation


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.parametrize(("stride", "side"), [(1, 8), (1, 7), (2, 8), (2, 7)])
def test_operations_keep_channels_and_divide_sides_rounding_up(
    name: str, stride: int, side: int
) -> None:
    outputs = build_operation(name, 4, stride, affine=True)(torch.randn(2, 4, side, side + 1))
    assert outputs.shape == (2, 4, -(-side // stride), -(-(side + 1) // stride))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        # Depthwise k²·C and pointwise C², twice in a separable convolution; C = 4.
        ("sep_conv_3x3", 2 * (36 + 16)),
        ("sep_conv_5x5", 2 * (100 + 16)),
        ("dil_conv_3x3", 36 + 16),
        ("dil_conv_5x5", 100 + 16),
        ("max_pool_3x3", 0),
        ("avg_pool_3x3", 0),
        ("skip_connect", 0),
    ],
)
def test_operations_have_the_weights_of_their_convolutions(name: str, weights: int) -> None:
    operation = build_operation(name, 4, 1, affine=False)
    assert sum(parameter.numel() for parameter in operation.parameters()) == weights


def test_dilated_convolution_reaches_two_pixels_per_tap() -> None:
    depthwise = build_operation("dil_conv_5x5", 1, 1, affine=False)[1]
    nn.init.ones_(depthwise.weight)
    impulse = torch.zeros(1, 1, 11, 11)
    impulse[0, 0, 5, 5] = 1
    rows = depthwise(impulse)[0, 0].sum(1).nonzero().flatten().tolist()
    assert rows == [1, 3, 5, 7, 9]


def test_average_pool_does_not_count_the_border() -> None:
    pooled = build_operation("avg_pool_3x3", 1, 1, affine=False)(torch.ones(1, 1, 4, 4))
    assert torch.equal(pooled, torch.ones(1, 1, 4, 4))


def test_factorized_reduce_reads_even_and_odd_pixels() -> None:
    reduce = FactorizedReduce(1, 2, affine=False).eval()
    nn.init.ones_(reduce.even.weight)
    nn.init.ones_(reduce.odd.weight)
    inputs = torch.arange(9.0).reshape(1, 1, 3, 3)
    even, odd = reduce(inputs)[0] * (1 + 1e-5) ** 0.5  # undo BatchNorm's epsilon
    torch.testing.assert_close(even, torch.tensor([[0.0, 2.0], [6.0, 8.0]]))
    torch.testing.assert_close(odd, torch.tensor([[4.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("name", ["none", "conv_7x7"])
def test_what_is_no_candidate_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown operation"):
        build_operation(name, 4, 1, affine=False)


@pytest.mark.parametrize("channels", [2, 4, 6, 8])
def test_halving_few_channels_is_the_convolution_of_stride_2(channels):
    # Of few channels it takes another way, which has to come to the same.
    torch.manual_seed(0)
    module = FactorizedReduce(channels, channels, affine=False).eval()
    inputs = torch.randn(2, channels, 7, 7)
    padded = F.pad(inputs.relu(), (0, 1, 0, 1))
    halves = [
        F.conv2d(maps, convolution.weight, stride=2)
        for maps, convolution in ((padded, module.even), (padded[:, :, 1:, 1:], module.odd))
    ]
    torch.testing.assert_close(module(inputs), module.norm(torch.cat(halves, 1)))
