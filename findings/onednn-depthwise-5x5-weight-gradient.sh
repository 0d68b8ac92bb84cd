#!/bin/sh
# torch 2.12.1 on an x86-64 CPU: the weight gradient of a 5x5 depthwise convolution is slow.
#
# Behaviour: a 5x5 kernel has 2.8 times the multiply-adds of a 3x3 kernel. Its forward pass takes
# 1.3 to 3.5 times as long, the gradient of its weights 8 to 30 times, with one thread.
# Seen: 32 images of 16 x 32 x 32: gradient of the weights 0.34 to 0.63 ms (3x3) and 10.3 ms (5x5);
# AMD EPYC, shared, one thread.
# Who meets it: whoever searches or trains cells with sep_conv_5x5 or dil_conv_5x5 on CPUs, or
# estimates their cost from multiply-adds.
# Here: the search computes a depthwise and a pointwise convolution as one dense convolution where
# nothing is between them (pcdarts/mixed_edges.py), and costs are measured, not computed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import time

import torch

torch.set_num_threads(1)


def seconds(kernel, channels=16, repeats=15):
    images = torch.randn(32, channels, 32, 32)
    weight = torch.randn(channels, 1, kernel, kernel)
    gradient = torch.randn(32, channels, 32, 32)
    padding, best = kernel // 2, {}
    for _ in range(repeats):
        start = time.perf_counter()
        torch.conv2d(images, weight, None, 1, padding, 1, channels)
        middle = time.perf_counter()
        torch.ops.aten.convolution_backward(
            gradient, images, weight, None, [1, 1], [padding, padding], [1, 1], False, [0, 0],
            channels, [False, True, False],
        )
        end = time.perf_counter()
        best["forward"] = min(best.get("forward", 9), middle - start)
        best["weights"] = min(best.get("weights", 9), end - middle)
    return best


three, five = seconds(3), seconds(5)
ratios = {name: five[name] / three[name] for name in three}
print({name: round(ratio, 1) for name, ratio in ratios.items()}, three, five)
assert ratios["weights"] > 5, "the gradient of the weights is no longer slow"
assert ratios["weights"] > 2 * ratios["forward"], "the forward pass is as slow now"
END
