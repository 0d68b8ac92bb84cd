#!/bin/sh
# torch 2.12.1 on a CPU: multinomial without replacement draws elements of weight 0.
#
# Behaviour: where fewer elements have a weight above 0 than are drawn, the others fill the rest,
# and no exception is raised; so does WeightedRandomSampler(replacement=False). NumPy refuses.
# Seen: 4 of the weights 1, 1, 0, 0, 0: both elements of weight 1, and two of weight 0. NumPy
# 2.4.6: "Fewer non-zero entries in p than size".
# Who meets it: whoever excludes images by a weight of 0 and draws a subset of a fixed size: the
# excluded ones return.
# Here: subsets are selected by rank or by a permutation, never drawn by weights.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

weights = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
drawn = [
    torch.multinomial(weights, 4, replacement=False).tolist(),
    list(WeightedRandomSampler(weights, 4, replacement=False)),
]
try:
    np.random.default_rng(0).choice(5, 4, replace=False, p=weights.numpy() / 2)
except ValueError as error:
    refusal = str(error)
print(drawn, refusal)
for each in drawn:
    assert len(set(each)) == 4, "the number of draws changed"
    assert {0, 1} < set(each), "elements of weight 1 are left out"
assert refusal == "Fewer non-zero entries in p than size", "NumPy changed"
END
