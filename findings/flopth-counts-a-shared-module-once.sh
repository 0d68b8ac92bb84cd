#!/bin/sh
# flopth 0.1.6 counts a module that is called twice only once.
#
# Behaviour: a module's cost is overwritten by that of its next call. thop and torch's counter add
# them.
# Seen: a 1x1 convolution of 1,024 multiply-adds, called twice: 1,024; torch's counter: 2,048.
# Who meets it: whoever counts networks with shared weights: weight-sharing cells, recurrent
# blocks, a head applied to several scales.
# Here: networks share no modules; benchmarks/counting.sh counts with flopth beside the others.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    flopth==0.1.6 torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from flopth import flopth
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x):
        return self.convolution(self.convolution(x))


with FlopCounterMode(display=False) as counter:
    Twice()(torch.zeros(1, 4, 8, 8))
seen = flopth(Twice(), in_size=((4, 8, 8),), bare_number=True)[0], counter.get_total_flops() // 2
print(seen)
assert seen == (1024, 2048), "the counts changed"
END
