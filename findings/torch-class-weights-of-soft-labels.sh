#!/bin/sh
# torch 2.12.1: class weights scale F.cross_entropy differently for soft labels.
#
# Behaviour: with class indices the weighted mean is divided by the sum of the images' weights,
# with one-hot probabilities of the same classes by the number of images.
# Seen: classes 0, 1, 2, 0 with weights 1, 2, 3: the one-hot loss is 7/4 of the other.
# Who meets it: whoever adds CutMix or label smoothing by probabilities to a training with class
# weights: the loss, and so the effective learning rate and weight decay, change with the batch.
# Here: the sum is divided by the number of images for both
# (classification/training/class_balance.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
import torch.nn.functional as F

classes, weights = torch.tensor([0, 1, 2, 0]), torch.tensor([1.0, 2.0, 3.0])
logits = torch.randn(4, 3, dtype=torch.float64)
weights = weights.double()
hard = F.cross_entropy(logits, classes, weight=weights)
soft = F.cross_entropy(logits, F.one_hot(classes, 3).double(), weight=weights)
print(hard.item(), soft.item(), (soft / hard).item())
assert torch.isclose(soft / hard, torch.tensor(7 / 4, dtype=torch.float64)), "the ratio changed"
END
