#!/bin/sh
# torch 2.12.1: AveragedModel(use_buffers=True) truncates the average of BatchNorm's counter.
#
# Behaviour: an exponential moving average of the integer num_batches_tracked is cut to an integer
# after every step. After 1,000 updates it is 990 with decay 0.9, 901 with 0.99, and 1 with 0.999
# or with equal weights (the default average), where it never leaves 1.
# Seen: 990, 901, 1 and 1, beside the network's 1,000.
# Who meets it: whoever keeps training from the averaged weights with BatchNorm(momentum=None),
# whose running statistics are weighted by the counter, or who checks the counter of a published
# network.
# Here: evaluate/retrain.py copies integer buffers from the network instead of averaging them.
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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

counts = {}
for name, average in {
    "0.9": get_ema_multi_avg_fn(0.9),
    "0.99": get_ema_multi_avg_fn(0.99),
    "0.999": get_ema_multi_avg_fn(0.999),
    "equal weights": None,
}.items():
    network = nn.BatchNorm2d(1)
    averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    for _ in range(1000):
        network(torch.randn(2, 1, 2, 2))
        averaged.update_parameters(network)
    assert int(network.num_batches_tracked) == 1000
    counts[name] = int(averaged.module.num_batches_tracked)
print(counts)
assert counts == {"0.9": 990, "0.99": 901, "0.999": 1, "equal weights": 1}, "the counts changed"
END
