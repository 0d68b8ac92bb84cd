"""Bytes of a network's weights and activations, worked out by hand."""

import json
import struct

import torch
from safetensors.torch import save
from torch import nn

from evaluate.footprint import measure_footprint


def chain():
    """Of an 8×8 image (768 bytes): 1,024, 1,024 and 512 bytes of activations."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


class Branches(nn.Module):
    """Keeps its first result, of 768 bytes, until it is added to the last."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, image):
        kept = self.first(image)
        return self.last(torch.relu(kept)) + kept


def test_the_peak_is_the_largest_sum_of_tensors_alive_at_once():
    # The image stays; during the ReLU its input and output: 768 + 1,024 + 1,024.
    assert measure_footprint(chain, 8).peak_activation_bytes == 2816
    # During the last convolution: the image, the kept result, the ReLU's and the new one. During
    # the addition: the image, both terms and the sum; the ReLU's is gone.
    assert measure_footprint(Branches, 8).peak_activation_bytes == 4 * 768


def test_in_place_operations_and_views_take_no_memory():
    def in_place():
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten())

    assert measure_footprint(in_place, 8).peak_activation_bytes == 768 + 1024


def test_a_file_of_weights_has_a_header_and_the_bytes_of_each_value():
    footprint = measure_footprint(lambda: nn.BatchNorm2d(3), 8)
    for halves, size in ((False, footprint.float32_bytes), (True, footprint.float16_bytes)):
        # Weight, bias, mean and variance of three channels, and a counter of 8 bytes.
        values = 4 * 3 * (2 if halves else 4) + 8
        module = nn.BatchNorm2d(3).half() if halves else nn.BatchNorm2d(3)
        file = save(module.state_dict())
        header = struct.unpack("<Q", file[:8])[0]
        assert json.loads(file[8 : 8 + header])
        assert size == 8 + header + values


def test_measuring_draws_no_random_numbers_of_its_caller():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    measure_footprint(chain, 8)
    assert torch.equal(torch.rand(2), expected)
