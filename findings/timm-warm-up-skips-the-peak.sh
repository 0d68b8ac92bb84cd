#!/bin/sh
# timm 1.0.31: CosineLRScheduler with a warm-up never reaches the base rate.
#
# Behaviour: the warm-up climbs towards the base rate, and the cosine then starts where it would be
# without a warm-up: with 3 epochs of 10 the rate goes 0.01, 0.04, 0.07, 0.0794. The base rate 0.1
# is never used, unless warmup_prefix=True.
# Seen: as stated; with warmup_prefix=True the largest rate is 0.1.
# Who meets it: whoever moves a recipe between timm and torch (SequentialLR of LinearLR and
# CosineAnnealingLR reaches 0.1): the peak is a fifth lower.
# Here: linear_decay reaches the rate in the last epoch of its warm-up
# (classification/training/schedules.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    timm==1.0.31 torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from timm.scheduler import CosineLRScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def timm_rates(**options):
    sgd = optimizer()
    scheduler = CosineLRScheduler(sgd, t_initial=10, warmup_t=3, warmup_lr_init=0.01, **options)
    rates = [sgd.param_groups[0]["lr"]]
    for epoch in range(1, 10):
        scheduler.step(epoch)
        rates.append(sgd.param_groups[0]["lr"])
    return [round(rate, 4) for rate in rates]


def torch_rates():
    sgd, rates = optimizer(), []
    parts = [LinearLR(sgd, 0.1, total_iters=3), CosineAnnealingLR(sgd, 7)]
    scheduler = SequentialLR(sgd, parts, [3])
    for _ in range(10):
        rates.append(round(sgd.param_groups[0]["lr"], 4))
        sgd.step()
        scheduler.step()
    return rates


plain, prefixed, sequential = timm_rates(), timm_rates(warmup_prefix=True), torch_rates()
print(plain, prefixed, sequential)
assert max(plain) == 0.0794, "the peak changed"
assert max(prefixed) == max(sequential) == 0.1, "the others changed"
END
