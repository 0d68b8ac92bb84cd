#!/bin/sh
# torch 2.12.1: reading a DataLoader draws from the global generator, even unshuffled.
#
# Behaviour: every iterator draws a seed for its workers, also with shuffle=False and no workers,
# so that one more pass over test images changes all random numbers that follow. With a generator
# of its own it does not.
# Seen: rand after an unshuffled pass differs from rand without it; equal with generator=...
# Who meets it: whoever evaluates every tenth epoch instead of every epoch and expects the same
# training.
# Here: every random stream has its own generator, derived from the seed
# (classification/seeding.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from torch.utils.data import DataLoader


def after(**options):
    torch.manual_seed(0)
    for _ in range(options.pop("passes")):
        list(DataLoader(range(4), shuffle=False, **options))
    return torch.rand(1).item()


none, one = after(passes=0), after(passes=1)
own = after(passes=1, generator=torch.Generator())
print(none, one, own)
assert one != none, "an unshuffled pass draws nothing now"
assert own == none, "a generator of its own does not help now"
END
