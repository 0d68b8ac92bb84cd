#!/bin/sh
# torchinfo 1.8.0, thop, ptflops 0.7.5, flopth 0.1.6 and torch-pruning 1.6.1 miss F.conv2d.
#
# Behaviour: they count modules by forward hooks, so that a convolution called as a function costs
# nothing; torchinfo counts its parameters instead. torch's FlopCounterMode, fvcore and
# torchprofile count it.
# Seen: a depthwise 3x3 F.conv2d of 2,304 multiply-adds and 36 parameters: torchinfo 36, the other
# four 0, the three 2,304.
# Who meets it: whoever counts a supernet that shares or slices its weights (once-for-all,
# slimmable, merged edges) and calls F.conv2d with them.
# Here: the supernet calls F.conv2d; complexity is counted on networks of modules, with torch's
# counter (evaluate/complexity.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torchinfo==1.8.0 thop==0.1.1.post2209072238 ptflops==0.7.5 flopth==0.1.6 torch-pruning==1.6.1 \
    fvcore==0.1.5.post20221221 torchprofile==0.1.0 torch==2.12.1 torchvision==0.27.1 numpy==2.4.6 \
    setuptools==80.9.0
cd "$folder"
venv/bin/python - <<'END'
import warnings

warnings.simplefilter("ignore")
import ptflops
import thop
import torch
import torch.nn.functional as F
import torch_pruning
import torchinfo
from flopth import flopth
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchprofile import profile_macs


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 1, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.weight, padding=1, groups=4)


images, network = torch.zeros(1, 4, 8, 8), Depthwise().eval()
with FlopCounterMode(display=False) as counter:
    network(images)
hooks = {
    "thop": thop.profile(Depthwise(), (images,), verbose=False)[0],
    "ptflops": ptflops.get_model_complexity_info(
        network, (4, 8, 8), as_strings=False, print_per_layer_stat=False, backend="pytorch"
    )[0],
    "torchinfo": torchinfo.summary(network, input_data=images, verbose=0).total_mult_adds,
    "flopth": flopth(network, in_size=((4, 8, 8),), bare_number=True)[0],
    "torch-pruning": torch_pruning.utils.count_ops_and_params(network, images)[0],
}
calls = {
    "torch": counter.get_total_flops() / 2,
    "fvcore": FlopCountAnalysis(network, images).total(),
    "torchprofile": profile_macs(network, images),
}
print(hooks, calls)
assert hooks.pop("torchinfo") == 36, "torchinfo counts something else than the parameters"
assert all(count == 0 for count in hooks.values()), "one of the four counts it now"
assert all(count == 2304 for count in calls.values()), "one of the three changed"
END
