#!/bin/sh
# thop 0.1.1.post2209072238 leaves its counters in the network that it counted.
#
# Behaviour: profile() adds the buffers total_ops and total_params to modules of classes that it
# does not know, which are all with a forward method of their own, and does not remove them, so
# that the state dict has entries that no network of the same class can load.
# Seen: a network of one convolution: total_ops and total_params in its state dict after profile();
# load_state_dict of a new one raises RuntimeError. torchvision's ResNet-18 has 18 of them.
# Who meets it: whoever prints the multiply-adds of a network and saves its weights afterwards.
# Here: torch's counter counts a network that is built for it (evaluate/complexity.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    thop==0.1.1.post2209072238 torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import thop
import torch
import torchvision
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.convolution(images).relu()


def left_by_counting(network):
    before = set(network.state_dict())
    thop.profile(network, (torch.zeros(1, 3, 64, 64),), verbose=False)
    return sorted(set(network.state_dict()) - before)


counted = Network()
small, large = left_by_counting(counted), left_by_counting(torchvision.models.resnet18())
print(small, len(large))
assert small == ["total_ops", "total_params"], "the buffers changed"
assert len(large) == 18, "the buffers of a ResNet-18 changed"
try:
    Network().load_state_dict(counted.state_dict())
except RuntimeError as error:
    print(str(error).splitlines()[1].strip())
else:
    raise AssertionError("the state dict loads now")
END
