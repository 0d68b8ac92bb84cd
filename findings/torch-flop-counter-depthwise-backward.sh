#!/bin/sh
# torch 2.12.1: FlopCounterMode counts a depthwise convolution's backward C times too high.
#
# Behaviour: the gradient of the weights of a convolution with C groups is counted as that of a
# dense one. For C = 64 the backward counts 65 times the forward; it is twice the forward, as for a
# dense convolution, whose backward it counts right.
# Seen: forward 1,179,648, backward 76,677,120 (3x3, C = 64, 32x32); dense 2.0 times.
# Who meets it: whoever reports the training cost of networks of separable convolutions (DARTS
# cells, MobileNet, EfficientNet, ConvNeXt).
# Here: only forward passes are counted (evaluate/complexity.py), costs of training are measured.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count(groups):
    convolution = nn.Conv2d(64, 64, 3, padding=1, groups=groups, bias=False)
    images = torch.randn(1, 64, 32, 32, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        output = convolution(images)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


dense, depthwise = count(1), count(64)
print(f"dense {dense}, ratio {dense[1] / dense[0]}")
print(f"depthwise {depthwise}, ratio {depthwise[1] / depthwise[0]}")
assert depthwise[0] == 2 * 9 * 64 * 32 * 32, "the forward count changed"
assert dense[1] == 2 * dense[0], "the dense backward count changed"
assert depthwise[1] == 65 * depthwise[0], "the depthwise backward count changed"
END
