#!/bin/sh
# ptflops 0.7.5 (backend "pytorch", its default): the count depends on how a ReLU is spelt.
#
# Behaviour: nn.ReLU is counted twice, F.relu once and x.relu() never. nn.MaxPool2d and
# nn.AvgPool2d are counted twice as well. The backend "aten" counts none of them.
# Seen: a 1x1 convolution of 1,024 multiply-adds and a ReLU of 256 values: 1,536, 1,280 and 1,024.
# Who meets it: whoever compares a network with its published count, or with the same network
# written in another style.
# Here: benchmarks/counting.sh counts the same networks with each counter.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    ptflops==0.7.5 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch.nn.functional as F
from ptflops import get_model_complexity_info
from torch import nn


class Network(nn.Module):
    def __init__(self, spelling):
        super().__init__()
        self.convolution, self.spelling = nn.Conv2d(4, 4, 1, bias=False), spelling
        self.module = nn.MaxPool2d(3, 1, 1) if "Pool" in spelling else nn.ReLU()

    def forward(self, x):
        x = self.convolution(x)
        if self.spelling == "x.relu()":
            return x.relu()
        return F.relu(x) if self.spelling == "F.relu" else self.module(x)


counts = {}
for backend in ("pytorch", "aten"):
    for spelling in ("nn.ReLU", "F.relu", "x.relu()", "nn.MaxPool2d"):
        counts[backend, spelling] = get_model_complexity_info(
            Network(spelling).eval(), (4, 8, 8), as_strings=False, print_per_layer_stat=False,
            backend=backend,
        )[0]
print(counts)
assert list(counts.values()) == [1536, 1280, 1024, 1536, 1024, 1024, 1024, 1024], "counts changed"
END
