"""Depthwise convolutions and slices with other gradients, against torch's own in float64."""

from functools import partial
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from pcdarts import depthwise
from pcdarts.depthwise import DepthwiseConv2d
from pcdarts.network import AuxiliaryHead
from pcdarts.pixels import even_and_odd_pixels


@pytest.fixture(autouse=True)
def _small_maps_count_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthwise, "_ENOUGH_VALUES", 0)


def gradients(module: nn.Module, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, and the gradients of maps and weight of a sum with fixed weights."""
    maps = maps.clone().requires_grad_()
    output = module(maps)
    draws = torch.Generator().manual_seed(1)
    output.backward(torch.randn(output.shape, generator=draws, dtype=torch.float64).to(output))
    assert maps.grad is not None
    (weight,) = module.parameters()
    assert weight.grad is not None
    return output.detach(), maps.grad, weight.grad


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (8, 6), (9, 12), (12, 9), (2, 2)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(k, s, d) for k in (3, 5) for s in (1, 2) for d in (1, 2)]
)
def test_outputs_and_gradients_are_those_of_the_plain_convolution_in_float64(
    channels: int, height: int, width: int, kernel: int, stride: int, dilation: int
) -> None:
    fast = DepthwiseConv2d(channels, kernel, stride, dilation)
    padding = dilation * (kernel - 1) // 2
    plain = nn.Conv2d(
        channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
    )
    plain.load_state_dict(fast.state_dict())
    maps = torch.randn(4, channels, height, width, generator=torch.Generator().manual_seed(0))
    expected = gradients(plain.double(), maps.double())
    for layout in (torch.channels_last, torch.contiguous_format):
        fast.zero_grad()
        found = gradients(fast, maps.to(memory_format=layout))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=2e-5)


def test_a_5x5_or_dilated_kernel_takes_the_fast_way_in_training_alone() -> None:
    maps = torch.randn(2, 4, 8, 8)
    with mock.patch.object(depthwise._Depthwise, "apply", wraps=depthwise._Depthwise.apply) as fast:
        DepthwiseConv2d(4, 3)(maps)
        DepthwiseConv2d(4, 5).eval()(maps)
        DepthwiseConv2d(4, 5).double()(maps.double())
        assert not fast.called
        DepthwiseConv2d(4, 5)(maps)
        DepthwiseConv2d(4, 3, dilation=2)(maps)
        assert fast.call_count == 2


def test_the_gradient_of_even_and_odd_pixels_is_that_of_the_slices() -> None:
    maps = torch.arange(32.0, dtype=torch.float64).reshape(1, 2, 4, 4).requires_grad_()
    even, odd = even_and_odd_pixels(maps, training=True)
    assert even[0, 0].tolist() == [[0, 2], [8, 10]]
    assert odd[0, 0].tolist() == [[5, 7], [13, 15]]
    in_training = partial(even_and_odd_pixels, training=True)
    assert torch.autograd.gradcheck(in_training, maps)
    assert torch.autograd.gradgradcheck(in_training, maps)


def test_the_auxiliary_head_s_matrix_product_is_its_convolution() -> None:
    head = AuxiliaryHead(3, 5, norm=True).double()
    convolution, maps = head.features[3], torch.randn(4, 128, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(convolution(maps), nn.functional.conv2d(maps, convolution.weight))
